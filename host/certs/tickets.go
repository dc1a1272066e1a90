package certs

import (
	"crypto/sha256"
	"fmt"
)

// The least and the most bytes that a file of a ticket key has.
const (
	leastTicketKey = 32
	mostTicketKey  = 4096
)

// readTicketKeys makes keys of files. Whoever is to be trusted goes into them: a session that
// one set of authorities has vouched for is not resumed where there is another.
func readTicketKeys(paths []string, authorities []byte) (keys [][32]byte, warnings []Warning, err error) {
	trusted := sha256.Sum256(authorities)
	for _, path := range paths {
		b, mode, err := readFile(path)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("reading ticket_keys: %w", err)
		case len(b) < leastTicketKey || len(b) > mostTicketKey:
			return nil, nil, fmt.Errorf("ticket_keys: %s has %d bytes, and a key has %d to %d; make one with openssl rand -out %s 80", path, len(b), leastTicketKey, mostTicketKey, path)
		}
		warnings = append(warnings, modeWarning("ticket key", &pemFile{path: path, mode: mode})...)
		h := sha256.New()
		h.Write([]byte("bulkhead ticket key 1\n"))
		h.Write(trusted[:])
		h.Write(b)
		keys = append(keys, [32]byte(h.Sum(nil)))
	}
	return keys, warnings, nil
}
