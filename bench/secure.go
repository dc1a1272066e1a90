package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"bulkhead/bench/internal/load"
)

// goTLS is the yardstick of the table of TLS.
const goTLS = "go-tls"

// secureServers are the contestants of the table of TLS.
func secureServers(s *settings) []server {
	echo := func(instance string) guest {
		return guest{plugin: s.plugin, instance: instance, config: func(place) string {
			return "[listener.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"
		}}
	}
	with := func(arguments func(place) ([]string, error)) func(place) ([]string, error) {
		return func(at place) ([]string, error) {
			if err := writeCertificate(at.dir); err != nil {
				return nil, err
			}
			return arguments(at)
		}
	}
	return []server{
		{name: goTLS, program: "gotls", secure: true, arguments: with(func(at place) ([]string, error) {
			return []string{at.address, filepath.Join(at.dir, "cert.pem"), filepath.Join(at.dir, "key.pem")}, nil
		})},
		{name: "bulkhead-conn", program: "bulkhead", secure: true, arguments: with(echo("connection").run)},
		{name: "bulkhead-loop", program: "bulkhead", secure: true, arguments: with(echo("loop").run)},
		{name: "bulkhead-native", program: "native", secure: true, arguments: with(echo("loop").serve)},
	}
}

// writeCertificate makes a key on P-256 and a certificate that it has signed itself, as
// cert.pem and key.pem in a folder.
func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("writing a key: %w", err)
	}
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			return fmt.Errorf("keeping the certificate: %w", err)
		}
	}
	return nil
}

func securePlan(s *settings) plan {
	d := s.length(pick[time.Duration](s, 200, 400, 700) * time.Millisecond)
	p := plan{Repeats: pick(s, 1, 2, 5), Idle: pick(s, 100, 5000, 5000), IdleRepeats: pick(s, 1, 1, 2), Secure: true}
	counts := pick(s, []int{4}, connections, connections)
	for _, size := range []int{64, 16 << 10} {
		for _, n := range counts {
			p.Cells = append(p.Cells, secureCell(n, size, false, d))
		}
	}
	if !s.quick {
		p.Cells = append(p.Cells, secureCell(counts[len(counts)/2], 64, true, d))
	}
	for _, resume := range []bool{false, true} {
		p.Cells = append(p.Cells, handshakeCell(counts[len(counts)/2], resume, d))
	}
	return p
}

func secureCell(conns, size int, oldest bool, d time.Duration) cell {
	name := fmt.Sprintf("%d x %s, TLS 1.3", conns, bytesName(size))
	if oldest {
		name = fmt.Sprintf("%d x %s, TLS 1.2", conns, bytesName(size))
	}
	return cell{Name: name, Job: load.Job{
		Kind: load.SecureEcho, Conns: conns, Size: size, Oldest: oldest,
		Warmup: d / 4, Duration: d, Timeout: 20 * time.Second,
	}}
}

func handshakeCell(conns int, resume bool, d time.Duration) cell {
	name := fmt.Sprintf("%d x full handshake", conns)
	if resume {
		name = fmt.Sprintf("%d x resumed handshake", conns)
	}
	return cell{Name: name, Job: load.Job{
		Kind: load.Handshakes, Conns: conns, Size: 64, Resume: resume,
		Warmup: d / 2, Duration: d, Timeout: 20 * time.Second,
	}}
}
