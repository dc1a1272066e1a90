package record

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"

	"bulkhead/csa"
	"bulkhead/plugins"
	"bulkhead/plugins/wasi"
)

// filled sets every field that there is to something that is not zero, each to another value.
func filled(v reflect.Value, next *int) {
	*next++
	switch v.Kind() {
	case reflect.Struct:
		switch at := v.Addr().Interface().(type) {
		case *netip.Addr:
			*at = netip.AddrFrom4([4]byte{10, 0, 0, byte(*next)})
			return
		case *netip.AddrPort:
			*at = netip.AddrPortFrom(netip.MustParseAddr("fe80::1%eth0"), uint16(*next))
			return
		}
		for n := range v.NumField() {
			filled(v.Field(n), next)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for n := range v.Len() {
			filled(v.Index(n), next)
		}
	case reflect.Array:
		for n := range v.Len() {
			filled(v.Index(n), next)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(string(rune('a' + *next%26)))
	case reflect.Int8:
		v.SetInt(int64(*next % 100))
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(-*next))
	case reflect.Uint8:
		v.SetUint(uint64(*next % 256))
	case reflect.Uint64:
		v.SetUint(1<<63 + uint64(*next))
	default:
		v.SetUint(uint64(*next))
	}
}

// Whatever there is of a unit and of an image comes back as it was. A field that somebody adds to
// one of the types and not to its function is seen here.
func TestAllFieldsTravel(t *testing.T) {
	next := 0
	var u Unit
	filled(reflect.ValueOf(&u).Elem(), &next)
	got, err := ReadUnit(u.Append(nil))
	if err != nil || !reflect.DeepEqual(&u, got) {
		t.Errorf("a unit comes back as\n%+v, %v\nand was\n%+v", got, err, &u)
	}
	var i Image
	filled(reflect.ValueOf(&i).Elem(), &next)
	image, err := ReadImage(i.Append(nil))
	if err != nil || !reflect.DeepEqual(&i, image) {
		t.Errorf("an image comes back as\n%+v, %v\nand was\n%+v", image, err, &i)
	}
}

// So do the messages.
func TestMessages(t *testing.T) {
	hello := Hello{Least: 1, Most: 3, Room: 1 << 40, LastNumber: 1<<64 - 1}
	if got, err := ReadHello(hello.Append(nil)); err != nil || got != hello {
		t.Errorf("a hello comes back as %+v, %v", got, err)
	}
	batch := Batch{Units: []Size{{1, 2}, {3, 4}}}
	if got, err := ReadBatch(batch.Append(nil)); err != nil || !reflect.DeepEqual(got, batch) {
		t.Errorf("a batch comes back as %+v, %v", got, err)
	}
	answer := Answer{Why: []string{"", string(make([]byte, 2*mostWhy))}}
	if got, err := ReadAnswer(answer.Append(nil)); err != nil || got.Why[0] != "" || len(got.Why[1]) != mostWhy {
		t.Errorf("an answer comes back as %+v, %v", got, err)
	}
}

// What is cut anywhere, or has more behind it, is refused.
func TestCutRecords(t *testing.T) {
	next := 0
	var u Unit
	filled(reflect.ValueOf(&u).Elem(), &next)
	whole := u.Append(nil)
	for n := range whole {
		if _, err := ReadUnit(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a unit", n, len(whole))
		}
	}
	if _, err := ReadUnit(append(bytes.Clone(whole), 0)); err == nil {
		t.Error("a byte too many is taken")
	}
}

// FuzzUnit: no bytes make the reader panic or take much memory, and what it has read it writes so
// that it reads the same.
func FuzzUnit(f *testing.F) {
	next := 0
	var u Unit
	filled(reflect.ValueOf(&u).Elem(), &next)
	f.Add(u.Append(nil))
	f.Add((&Unit{Listener: "echo", Conns: []Conn{{Record: csa.Record{Number: 7, Inbox: []byte("hello")}}}}).Append(nil))
	f.Add((&Unit{Image: 1, Instance: plugins.InstanceRecord{Descriptors: []wasi.Descriptor{{Stream: -1}}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := ReadUnit(b)
		if err != nil {
			return
		}
		again, err := ReadUnit(u.Append(nil))
		if err != nil || !reflect.DeepEqual(u, again) {
			t.Errorf("%+v is written and read as %+v, %v", u, again, err)
		}
	})
}

// FuzzImage is FuzzUnit for images.
func FuzzImage(f *testing.F) {
	next := 0
	var i Image
	filled(reflect.ValueOf(&i).Elem(), &next)
	f.Add(i.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := ReadImage(b)
		if err != nil {
			return
		}
		if again, err := ReadImage(i.Append(nil)); err != nil || !reflect.DeepEqual(i, again) {
			t.Errorf("%+v is written and read as %+v, %v", i, again, err)
		}
	})
}

// FuzzMessages is FuzzUnit for the messages that both sides send.
func FuzzMessages(f *testing.F) {
	f.Add((&Hello{Least: 1, Most: 2, Room: 100, LastNumber: 1 << 63}).Append(nil))
	f.Add((&Batch{Units: []Size{{100, 1}, {5, 0}}}).Append(nil))
	f.Add((&Answer{Why: []string{"", "no room"}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ReadHello(b); err == nil {
			if again, err := ReadHello(h.Append(nil)); err != nil || again != h {
				t.Errorf("%+v is written and read as %+v, %v", h, again, err)
			}
		}
		if k, err := ReadBatch(b); err == nil {
			if again, err := ReadBatch(k.Append(nil)); err != nil || !reflect.DeepEqual(again, k) {
				t.Errorf("%+v is written and read as %+v, %v", k, again, err)
			}
		}
		if a, err := ReadAnswer(b); err == nil {
			if again, err := ReadAnswer(a.Append(nil)); err != nil || !reflect.DeepEqual(again, a) {
				t.Errorf("%+v is written and read as %+v, %v", a, again, err)
			}
		}
	})
}
