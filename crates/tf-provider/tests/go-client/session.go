package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// The cookie that cores set for every provider.
var cookie = plugin.HandshakeConfig{
	MagicCookieKey:   "TF_PLUGIN_MAGIC_COOKIE",
	MagicCookieValue: "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
}

// The settings for the start of a provider. asCore has those of the cores.
type settings struct {
	handshake plugin.HandshakeConfig
	version   int
	tls       bool
}

var asCore = settings{handshake: cookie, version: 6, tls: true}

// A started provider and the connection to it.
type session struct {
	client  *plugin.Client
	spoken  plugin.ClientProtocol
	conn    *grpc.ClientConn
	process *exec.Cmd
	stderr  *output
	log     *output
}

// A plugin that only provides the connection.
type connection struct {
	plugin.NetRPCUnsupportedPlugin
}

func (connection) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

func (connection) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this is a client")
}

// Starts the program. Returns the session even if the start failed, because it has the output.
func start(program string, with settings) (*session, error) {
	s := &session{process: exec.Command(program), stderr: &output{}, log: &output{}}
	s.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  with.handshake,
		VersionedPlugins: map[int]plugin.PluginSet{with.version: {"provider": connection{}}},
		Cmd:              s.process,
		AutoMTLS:         with.tls,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Stderr:           s.stderr,
		Logger:           hclog.New(&hclog.LoggerOptions{Output: s.log, Level: hclog.Debug}),
	})
	spoken, err := s.client.Client()
	if err != nil {
		s.client.Kill()
		return s, err
	}
	s.spoken = spoken
	found, err := spoken.Dispense("provider")
	if err != nil {
		s.client.Kill()
		return s, err
	}
	s.conn = found.(*grpc.ClientConn)
	return s, nil
}

// Returns the path of the provider's socket.
func (s *session) socket() (string, error) {
	address, ok := s.client.ReattachConfig().Addr.(*net.UnixAddr)
	if !ok {
		return "", fmt.Errorf("%v is not a unix socket", s.client.ReattachConfig().Addr)
	}
	return address.Name, nil
}

// The end of a provider after a shutdown.
type ending struct {
	// Exit status; -1 for a process that had to be killed.
	Status int `json:"status"`
	// True if the directory of the socket still exists.
	Left bool `json:"left"`
	// Log of go-plugin.
	Log string `json:"log"`
}

func (s *session) end() (ending, error) {
	socket, err := s.socket()
	if err != nil {
		return ending{}, err
	}
	s.client.Kill()
	_, err = os.Stat(socket)
	return ending{s.status(), err == nil, s.log.String()}, nil
}

func (s *session) status() int {
	if s.process.ProcessState == nil {
		return -1
	}
	return s.process.ProcessState.ExitCode()
}

// Text that one goroutine writes and another reads.
type output struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(text []byte) (int, error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	return o.text.Write(text)
}

func (o *output) String() string {
	o.lock.Lock()
	defer o.lock.Unlock()
	return o.text.String()
}
