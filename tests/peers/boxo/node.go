package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/client"
	"github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/bitswap/network/httpnet"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/namesys"
	pinner "github.com/ipfs/boxo/pinning/pinner"
	"github.com/ipfs/boxo/pinning/pinner/dspinner"
	"github.com/ipfs/boxo/routing/providerquerymanager"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	flatfs "github.com/ipfs/go-ds-flatfs"
	format "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	madns "github.com/multiformats/go-multiaddr-dns"
)

// options are what the command line says of a peer.
type options struct {
	folder string // of the blocks; "" for memory
	router string // URL; "" for none
	listen string // multiaddr
	fetch  bool   // whether the gateway fetches
}

// node is an IPFS peer: blocks, ways to get more of them, pins and names.
type node struct {
	host     host.Host
	blocks   blockstore.Blockstore
	exchange *bitswap.Bitswap
	online   blockservice.BlockService // fetches what is not here
	local    blockservice.BlockService // does not
	pins     pinner.Pinner
	names    *names
	closers  []func() error // in the order in which they were opened
}

// newNode opens the blocks, listens for other peers, and starts the exchange.
func newNode(ctx context.Context, with options) (*node, error) {
	n := &node{}
	if err := n.open(ctx, with); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *node) open(ctx context.Context, with options) error {
	data, err := openStore(with.folder)
	if err != nil {
		return err
	}
	n.closers = append(n.closers, data.Close)
	// An identity CID is here by being written down: nobody is asked for one, none is kept.
	n.blocks = blockstore.NewIdStore(blockstore.NewBlockstoreNoPrefix(data))
	if n.host, err = listen(with.listen); err != nil {
		return err
	}
	n.closers = append(n.closers, n.host.Close)
	router, err := newRouter(with.router)
	if err != nil {
		return err
	}
	n.names = newNames(router)
	if err := n.startExchange(ctx, router); err != nil {
		return err
	}
	n.online = blockservice.New(n.blocks, n.exchange)
	n.local = blockservice.New(n.blocks, offline.Exchange(n.blocks))
	kept := dssync.MutexWrap(datastore.NewMapDatastore())
	if n.pins, err = dspinner.New(ctx, kept, n.dag(true)); err != nil {
		return err
	}
	n.closers = append(n.closers, n.pins.Close)
	return nil
}

// openStore opens Kubo's own store of one file a block, or a map.
func openStore(folder string) (datastore.Batching, error) {
	if folder == "" {
		return dssync.MutexWrap(datastore.NewMapDatastore()), nil
	}
	return flatfs.CreateOrOpen(folder, flatfs.NextToLast(2), false)
}

// listen makes a host that speaks TCP where it was told to, and looks for nobody by itself.
func listen(address string) (host.Host, error) {
	return libp2p.New(
		libp2p.ListenAddrStrings(address),
		libp2p.NoTransports,
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	)
}

// startExchange joins bitswap over libp2p and blocks over HTTP, as Kubo does.
func (n *node) startExchange(ctx context.Context, router router) error {
	// One manager for both, or they would differ about who is connected.
	events := network.NewConnectEventManager()
	both := network.New(
		n.host.Peerstore(),
		bsnet.NewFromIpfsHost(n.host, bsnet.WithConnectEventManager(events)),
		httpnet.New(n.host, httpnet.WithConnectEventManager(events)),
	)
	finder, err := providerquerymanager.New(both, router)
	if err != nil {
		return err
	}
	n.exchange = bitswap.New(ctx, both, finder, n.blocks,
		bitswap.WithClientOption(client.WithDefaultProviderQueryManager(false)),
		bitswap.WithClientOption(client.WithDontHaveTimeoutConfig(patient())))
	n.closers = append(n.closers, func() error { finder.Close(); return nil }, n.exchange.Close)
	return nil
}

// patient waits for who is slow. By default a peer that takes twice as long as before (50 ms is
// enough) counts as one that has not got the block; with one peer alone, on a busy machine, the
// session has then nobody left to ask, and stands still for minutes.
func patient() *client.DontHaveTimeoutConfig {
	config := client.DefaultDontHaveTimeoutConfig()
	config.MinTimeout = 20 * time.Second
	config.DontHaveTimeout = config.MinTimeout
	config.MaxTimeout = 2 * config.MinTimeout
	return config
}

// dag reads nodes from what is here, and with fetch from everybody else as well.
func (n *node) dag(fetch bool) format.DAGService {
	if fetch {
		return merkledag.NewDAGService(n.online)
	}
	return merkledag.NewDAGService(n.local)
}

// gateway makes the path and trustless gateway.
func (n *node) gateway(fetch bool) (http.Handler, error) {
	service := n.local
	if fetch {
		service = n.online
	}
	system, err := namesys.NewNameSystem(n.names, namesys.WithDNSResolver(noDNS()))
	if err != nil {
		return nil, err
	}
	backend, err := gateway.NewBlocksBackend(service,
		gateway.WithValueStore(n.names), gateway.WithNameSystem(system))
	if err != nil {
		return nil, err
	}
	config := gateway.Config{
		DeserializedResponses: true,
		NoDNSLink:             true,
		DisableHTMLErrors:     true,
		RetrievalTimeout:      gateway.DefaultRetrievalTimeout,
	}
	return gateway.NewHeaders(nil).ApplyCors().Wrap(gateway.NewHandler(config, backend)), nil
}

// noDNS answers no question, so that no test depends on the network.
func noDNS() madns.BasicResolver { return &madns.MockResolver{} }

// addrs gives the multiaddrs by which others connect to this peer.
func (n *node) addrs() []string {
	var all []string
	for _, address := range n.host.Addrs() {
		all = append(all, address.String()+"/p2p/"+n.host.ID().String())
	}
	return all
}

// close ends all that was opened, the last first.
func (n *node) close() {
	var errs error
	for at := len(n.closers) - 1; at >= 0; at-- {
		errs = errors.Join(errs, n.closers[at]())
	}
	n.closers = nil
}
