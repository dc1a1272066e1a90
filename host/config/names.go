package config

// nameForm is what a tenant or a listener may be called.
const nameForm = `a name of 1 to 63 of a-z, 0-9, "_", "." and "-", beginning with a letter or a digit`

// goodName tells whether s may name a tenant or a listener. Names stand in
// logs, metrics and file names, so they are kept plain.
func goodName(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return true
}
