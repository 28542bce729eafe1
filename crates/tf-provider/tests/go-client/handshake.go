package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Connects to a provider of another client in every way that must fail.
func outsiders(ctx context.Context, p *protocol, program string) (any, error) {
	s, err := start(program, asCore)
	if err != nil {
		return nil, err
	}
	defer s.client.Kill()
	socket, err := s.socket()
	if err != nil {
		return nil, err
	}
	directory, err := os.Stat(filepath.Dir(socket))
	if err != nil {
		return nil, err
	}
	foreign, err := certificate()
	if err != nil {
		return nil, err
	}
	// The provider's certificate is not checked here.
	bare := &tls.Config{ServerName: "localhost", InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	other := bare.Clone()
	other.Certificates = []tls.Certificate{*foreign}
	old := other.Clone()
	old.MaxVersion = tls.VersionTLS12
	found := map[string]any{
		"no_certificate":      p.knock(ctx, socket, bare),
		"foreign_certificate": p.knock(ctx, socket, other),
		"old_tls":             p.knock(ctx, socket, old),
		"no_tls":              p.knock(ctx, socket, nil),
		"directory_mode":      directory.Mode().Perm(),
	}
	// The provider's own client is still served.
	_, err = p.call(ctx, s.conn, "GetProviderSchema", message{})
	found["own_client"] = reason(err)
	return found, nil
}

// The errors that an outsider gets.
type refusal struct {
	// gRPC error of the first call; empty if the call succeeds.
	Call string `json:"call"`
	// TLS error. With version 1.3, it arrives after the client has finished its part of the handshake.
	Alert string `json:"alert"`
}

// Makes a call over a new connection, without TLS if there are no settings for it.
func (p *protocol) knock(ctx context.Context, socket string, with *tls.Config) refusal {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	transport, alert := insecure.NewCredentials(), ""
	if with != nil {
		transport, alert = credentials.NewTLS(with), greet(ctx, socket, with)
	}
	dialer, security := grpc.WithContextDialer(dial), grpc.WithTransportCredentials(transport)
	conn, err := grpc.NewClient("passthrough:localhost", dialer, security)
	if err != nil {
		return refusal{err.Error(), alert}
	}
	defer conn.Close()
	_, err = p.call(ctx, conn, "GetProviderSchema", message{})
	return refusal{reason(err), alert}
}

// Does the TLS handshake and reads until the other side sends something or closes.
func greet(ctx context.Context, socket string, with *tls.Config) string {
	conn, err := (&tls.Dialer{Config: with}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	until, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(until); err != nil {
		return err.Error()
	}
	_, err = conn.Read(make([]byte, 1))
	return reason(err)
}

// Returns a key and certificate like those that go-plugin creates for its clients, but unknown to this provider.
func certificate() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "localhost", Organization: []string{"HashiCorp"}},
		DNSNames:              []string{"localhost"},
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return &tls.Certificate{Certificate: [][]byte{made}, PrivateKey: key}, err
}

// A failed start.
type failure struct {
	Error  string `json:"error"`
	Stderr string `json:"stderr"`
	Status int    `json:"status"`
}

// Makes starts that must fail.
func refused(program string) (any, error) {
	strange := plugin.HandshakeConfig{MagicCookieKey: cookie.MagicCookieKey, MagicCookieValue: "of something else"}
	return map[string]failure{
		"other_cookie":   fail(program, settings{handshake: strange, version: 6, tls: true}),
		"older_protocol": fail(program, settings{handshake: cookie, version: 5, tls: true}),
	}, nil
}

func fail(program string, with settings) failure {
	s, err := start(program, with)
	s.client.Kill()
	return failure{reason(err), s.stderr.String(), s.status()}
}

// Serves a client without TLS, which OpenTofu can switch off. The socket's directory then protects both sides.
func plain(ctx context.Context, p *protocol, program string) (any, error) {
	with := asCore
	with.tls = false
	s, err := start(program, with)
	if err != nil {
		return nil, err
	}
	defer s.client.Kill()
	_, err = p.call(ctx, s.conn, "GetProviderSchema", message{})
	found := map[string]any{"own_client": reason(err)}
	found["end"], err = s.end()
	return found, err
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
