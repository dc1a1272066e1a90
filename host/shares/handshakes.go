package shares

import "bulkhead/host/config"

// defaultHandshakes is how many TLS handshakes are under way where nothing else is said.
const defaultHandshakes = 4096

// Handshakes is how many TLS handshakes all tenants may have under way together: [host] handshakes,
// but two for each tenant in any case.
func Handshakes(cfg *config.Config) int {
	most := cfg.Host.Handshakes
	if most <= 0 {
		most = defaultHandshakes
	}
	return max(most, 2*len(cfg.Tenants))
}
