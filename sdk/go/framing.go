package guest

import "bytes"

// The functions below find the first message in what Data was given, from the beginning of a
// message on. They return it, which is a part of p, and how many bytes of p it takes up together
// with its delimiter or its length: 0 while it is not all there. A message of more than most bytes
// is the error Invalid. Data returns that, and the connection ends with it: the peer would only
// fill the window, which has to have room for a whole message. Most is 0 or more.
//
//	for {
//		line, used, err := guest.Line(p[done:], 1000)
//		if err != nil || used == 0 {
//			return done, err
//		}
//		done += used
//		...
//	}

// Line finds a line. The message is without the line feed that ends it, and without a carriage
// return before that.
func Line(p []byte, most int) (message []byte, used int, err error) {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		if len(p)-1 > most { // the last may be the carriage return
			return nil, 0, Invalid
		}
		return nil, 0, nil
	}
	message = bytes.TrimSuffix(p[:end], []byte{'\r'})
	if len(message) > most {
		return nil, 0, Invalid
	}
	return message, end + 1, nil
}

// Until finds what stands before a delimiter. An empty delimiter is Invalid.
func Until(p, delimiter []byte, most int) (message []byte, used int, err error) {
	if len(delimiter) == 0 || most < 0 {
		return nil, 0, Invalid
	}
	end := bytes.Index(p, delimiter)
	if end > most || end < 0 && len(p)-len(delimiter) >= most {
		return nil, 0, Invalid
	}
	if end < 0 {
		return nil, 0, nil
	}
	return p[:end], end + len(delimiter), nil
}

// Fixed finds a message of size bytes. A size of less than 1 is Invalid.
func Fixed(p []byte, size int) (message []byte, used int, err error) {
	switch {
	case size < 1:
		return nil, 0, Invalid
	case len(p) < size:
		return nil, 0, nil
	}
	return p[:size], size, nil
}

// ByteOrder is in which order the bytes of a number come: binary.BigEndian or binary.LittleEndian.
type ByteOrder interface {
	Uint16([]byte) uint16
	Uint32([]byte) uint32
}

// Prefixed finds a message behind its length, which has size bytes, 1, 2 or 4, in that order, and
// does not count itself. Another size is Invalid.
func Prefixed(p []byte, size int, order ByteOrder, most int) (message []byte, used int, err error) {
	if size != 1 && size != 2 && size != 4 {
		return nil, 0, Invalid
	}
	if len(p) < size {
		return nil, 0, nil
	}
	var length uint64
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
