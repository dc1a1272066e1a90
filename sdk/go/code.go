package guest

import "errors"

// Error is the name of the code, as in "csa: RESET".
func (c Code) Error() string { return "csa: " + c.String() }

// String is the name of the code as in the ABI, such as "RESET", or "UNKNOWN".
func (c Code) String() string {
	if c > 0 || c <= Code(-len(names)) {
		return "UNKNOWN"
	}
	return names[-c]
}

// boxed holds every code as an error, so that answering one allocates nothing.
var boxed = func() (b [len(names)]error) {
	for i := range b {
		if i > 0 {
			b[i] = Code(-i)
		}
	}
	return b
}()

// errorOf is nil for a result that is no error.
func errorOf(result int32) error {
	switch {
	case result >= 0:
		return nil
	case result > int32(-len(boxed)):
		return boxed[-result]
	}
	return Code(result)
}

// codeOf is the code to hand the host for an error that a handler returned:
// the one it is or wraps, else Invalid. known says that it is or wraps one.
func codeOf(err error) (code Code, known bool) {
	if errors.As(err, &code) && code < 0 && code > Code(-len(names)) {
		return code, true
	}
	return Invalid, false
}
