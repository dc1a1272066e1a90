package guest

// The functions below find the first message in what Data was given, from the beginning of a
// message on. They return it, which is a part of p, and how many bytes of p it takes up with its
// delimiter or length: 0 while it is not all there. A message that is longer than most bytes is the
// error Invalid, which Data returns: the peer would fill the window, which has to have room for a
// message. Most is 0 or more.
//
//	for {
//		line, used, err := guest.Line(p[done:], 1000)
//		if err != nil || used == 0 {
//			return done, err
//		}
//		done += used
//	}

// Line is a line, without the line feed that ends it, nor a carriage return before that.
func Line(p []byte, most int) (message []byte, used int, err error) {
	end := 0
	for end < len(p) && p[end] != '\n' {
		end++
	}
	if end == len(p) {
		if len(p)-1 > most { // the last may be the carriage return
			return nil, 0, Invalid
		}
		return nil, 0, nil
	}
	message = p[:end]
	if end > 0 && p[end-1] == '\r' {
		message = p[:end-1]
	}
	if len(message) > most {
		return nil, 0, Invalid
	}
	return message, end + 1, nil
}

// Until is what stands before a delimiter, which is not empty.
func Until(p, delimiter []byte, most int) (message []byte, used int, err error) {
	if len(delimiter) == 0 {
		return nil, 0, Invalid
	}
	for end := 0; end <= most && len(p)-end >= len(delimiter); end++ {
		if string(p[end:end+len(delimiter)]) == string(delimiter) { // the compiler makes no strings
			return p[:end], end + len(delimiter), nil
		}
	}
	if len(p)-len(delimiter) >= most {
		return nil, 0, Invalid
	}
	return nil, 0, nil
}

// Fixed is a message of size bytes, which are at least 1.
func Fixed(p []byte, size int) (message []byte, used int, err error) {
	switch {
	case size < 1:
		return nil, 0, Invalid
	case len(p) < size:
		return nil, 0, nil
	}
	return p[:size], size, nil
}

// ByteOrder is how a number is written in several bytes: binary.BigEndian or binary.LittleEndian.
type ByteOrder interface {
	Uint16([]byte) uint16
	Uint32([]byte) uint32
}

// Prefixed is a message with its length in front, which does not count itself. That is written in
// 1, 2 or 4 bytes, size, in such an order. Another size is Invalid.
func Prefixed(p []byte, size int, order ByteOrder, most int) (message []byte, used int, err error) {
	if size != 1 && size != 2 && size != 4 {
		return nil, 0, Invalid
	}
	if len(p) < size {
		return nil, 0, nil
	}
	var length uint64 // an int has 32 bits in a guest
	switch size {
	case 1:
		length = uint64(p[0])
	case 2:
		length = uint64(order.Uint16(p))
	case 4:
		length = uint64(order.Uint32(p))
	}
	if most < 0 || length > uint64(most) {
		return nil, 0, Invalid
	}
	p = p[size:]
	if uint64(len(p)) < length {
		return nil, 0, nil
	}
	return p[:length], size + int(length), nil
}
