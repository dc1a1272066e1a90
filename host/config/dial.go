package config

// dialForms is what an entry of connect looks like.
const dialForms = `HOST:PORT, NETWORK/BITS:PORT or unix:///PATH, like "db.example.com:5432", "10.0.0.0/8:443" or "[2001:db8::/32]:8000-8100"`
