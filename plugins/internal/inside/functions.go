package inside

import (
	"fmt"
	"reflect"
	"sort"

	"github.com/tetratelabs/wazero/api"
)

// Functions tell which function of a module native code is of. They are read only, and outlive the
// module.
type Functions struct {
	begins []int    // where in the code each begins
	names  []string // as the module names them; "": it does not
	first  int      // the index of the first: the number of those that are imported
}

// FunctionsOf are those of f's module. The error says that the engine is not as expected.
func FunctionsOf(f api.Function) (all *Functions, err error) {
	v := reflect.ValueOf(f)
	defer func() {
		if p := recover(); p != nil { // reflect's, of a field that is another
			all, err = nil, fmt.Errorf("the engine's %T has no functions that can be looked at: %v", f, p)
		}
	}()
	code := v.Elem().FieldByName("parent").Elem().FieldByName("parent").Elem()
	module := code.FieldByName("module").Elem()
	offsets := code.FieldByName("functionOffsets")
	all = &Functions{first: int(module.FieldByName("ImportFunctionCount").Uint())}
	for n := range offsets.Len() {
		all.begins = append(all.begins, int(offsets.Index(n).Int()))
	}
	all.names = make([]string, len(all.begins))
	names := module.FieldByName("NameSection")
	if names.IsNil() {
		return all, nil
	}
	names = names.Elem().FieldByName("FunctionNames")
	for n := range names.Len() {
		one := names.Index(n)
		if i := int(one.FieldByName("Index").Uint()) - all.first; i >= 0 && i < len(all.names) {
			all.names[i] = one.FieldByName("Name").String()
		}
	}
	return all, nil
}

// Number is the number of the function that code before a place is of, the imported ones not
// counted; a place is as in Calls. Not ok: it is of none.
func (a *Functions) Number(at uint32) (n int, ok bool) {
	n = sort.Search(len(a.begins), func(i int) bool { return a.begins[i] >= int(at) }) - 1
	return n, n >= 0
}

// Name is what the module calls the nth function, or its index with $ before it.
func (a *Functions) Name(n int) string {
	if n >= 0 && n < len(a.names) && a.names[n] != "" {
		return a.names[n]
	}
	return fmt.Sprintf("$%d", a.first+n)
}
