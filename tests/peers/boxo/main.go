// Command boxopeer is one IPFS peer for tests, made of the libraries that Kubo is made of.
//
// It finds blocks by bitswap with peers that it was told to connect to, and by plain HTTP from
// whoever its only router names. It knows no DHT, looks for nobody on the local network and asks
// no DNS. When all of it listens, one line of JSON on standard output says where; it ends with its
// standard input, or by SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// ready is what the peer says of itself once it can be spoken to.
type ready struct {
	Version string   `json:"version"`
	Peer    string   `json:"peer"`
	Addrs   []string `json:"addrs"`
	Gateway string   `json:"gateway"`
	Admin   string   `json:"admin"`
}

func main() {
	var with options
	flag.StringVar(&with.folder, "store", "", "keep blocks in this folder, not in memory")
	flag.StringVar(&with.router, "router", "", "URL of the server of /routing/v1 to ask")
	flag.StringVar(&with.listen, "listen", "/ip4/127.0.0.1/tcp/0", "multiaddr for bitswap")
	flag.BoolVar(&with.fetch, "fetch", false, "let the gateway fetch what is not here")
	door := flag.String("gateway", "127.0.0.1:0", "address of the gateway")
	admin := flag.String("admin", "127.0.0.1:0", "address of the admin requests")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, stop, with, *door, *admin, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "boxopeer:", err)
		os.Exit(1)
	}
}

// run makes the peer, imports the CARs that were named, serves until ctx ends.
func run(
	ctx context.Context, stop func(), with options, door, admin string, cars []string,
) error {
	peer, err := newNode(ctx, with)
	if err != nil {
		return err
	}
	defer peer.close()
	for _, name := range cars {
		if err := importFile(ctx, peer, name); err != nil {
			return err
		}
	}
	handler, err := peer.gateway(with.fetch)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	gatewayURL, err := serve(door, handler, failed)
	if err != nil {
		return err
	}
	adminURL, err := serve(admin, peer.admin(), failed)
	if err != nil {
		return err
	}
	say := ready{version(), peer.host.ID().String(), peer.addrs(), gatewayURL, adminURL}
	if err := json.NewEncoder(os.Stdout).Encode(say); err != nil {
		return err
	}
	go func() {
		// Whoever started us holds the other end: when they are gone, however that came, so are we.
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// serve listens at an address of ours and answers there; it gives the URL.
func serve(address string, handler http.Handler, failed chan<- error) (string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	go func() { failed <- http.Serve(listener, handler) }()
	return "http://" + listener.Addr().String(), nil
}

func importFile(ctx context.Context, peer *node, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	_, err = peer.importCar(ctx, file)
	return errors.Join(err, file.Close())
}

// version tells which release of boxo was built in.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/ipfs/boxo" {
				return module.Version
			}
		}
	}
	return "unknown"
}
