package csa

// TLSInfo is what is known of the connection's TLS, by a key of abi.Info; "" when it
// has none.
func (c *CSA) TLSInfo(key int32) string { return "" }
