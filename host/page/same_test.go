package page

import (
	"reflect"
	"testing"
)

// A row is the same as itself, and another as soon as any field is.
func TestSame(t *testing.T) {
	check(t, tenantRow.same)
	check(t, listenerRow.same)
	check(t, generationRow.same)
	check(t, connRow.same)
}

func check[R any](t *testing.T, same func(R, *R) bool) {
	t.Helper()
	var as, other R
	if !same(as, &other) {
		t.Errorf("%T is another than itself", as)
	}
	for i := range reflect.TypeFor[R]().NumField() {
		name := reflect.TypeFor[R]().Field(i).Name
		var changed R
		switch f := reflect.ValueOf(&changed).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int64:
			f.SetInt(1)
		case reflect.Uint64:
			f.SetUint(1)
		case reflect.Float64:
			f.SetFloat(1)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
			f.SetMapIndex(reflect.ValueOf("x"), reflect.Zero(f.Type().Elem()))
		default:
			t.Fatalf("nobody knows how to change %T.%s, a %v", as, name, f.Kind())
		}
		if same(as, &changed) || same(changed, &as) || !same(changed, &changed) {
			t.Errorf("%T with another %s is the same", as, name)
		}
	}
}
