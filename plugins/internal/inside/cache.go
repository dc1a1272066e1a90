package inside

import (
	"crypto/sha256"
	"fmt"
	"io"
	"reflect"
	"unsafe"

	"github.com/tetratelabs/wazero"
)

// Code is what the engine asks for native code before it compiles, and what it gives code to that
// it has compiled. Its methods are called while the engine compiles a module, by the goroutine that
// has it do so.
type Code interface {
	// Get gives the engine the code that it knows by a name, or false where it may compile, or
	// an error where it must not.
	Get(engine [sha256.Size]byte) (io.ReadCloser, bool, error)
	// Add takes what the engine has compiled.
	Add(engine [sha256.Size]byte, content io.Reader) error
	// Delete is asked for when the engine finds that what it was given is another version's. It
	// compiles then, unless that is an error.
	Delete(engine [sha256.Size]byte) error
}

// CacheOf makes a cache of the engine's that asks c. The engine's own reads files by their names
// and believes what they say. An engine that asks elsewhere cannot be used: that is the error.
func CacheOf(c Code) (wazero.CompilationCache, error) {
	cache := wazero.NewCompilationCache()
	where := reflect.ValueOf(cache)
	if where.Kind() == reflect.Pointer && where.Elem().Kind() == reflect.Struct {
		field := where.Elem().FieldByName("fileCache")
		if field.IsValid() && field.Kind() == reflect.Interface && reflect.TypeOf(c).Implements(field.Type()) {
			reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(c))
			return cache, nil
		}
	}
	return nil, fmt.Errorf("the engine's %T cannot be given verified code; build this program with the version of wazero in its go.mod", cache)
}
