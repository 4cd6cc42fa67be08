package main

import (
	"context"
	"sync"

	"github.com/ipfs/boxo/ipns"
	drclient "github.com/ipfs/boxo/routing/http/client"
	"github.com/ipfs/boxo/routing/http/contentrouter"
	routinghelpers "github.com/libp2p/go-libp2p-routing-helpers"
	"github.com/libp2p/go-libp2p/core/routing"
)

// router says who has a block, and what a name's record is.
type router interface {
	routing.ContentDiscovery
	routing.ValueStore
}

// newRouter speaks to one server of /routing/v1, in the way that Kubo does; without URL to nobody.
func newRouter(url string) (router, error) {
	if url == "" {
		return routinghelpers.Null{}, nil
	}
	client, err := drclient.New(url,
		drclient.WithProtocolFilter(
			[]string{"unknown", "transport-bitswap", "transport-ipfs-gateway-http"}),
		drclient.WithStreamResultsRequired(),
		// The server may not know the filters: what it says is filtered here as well.
		drclient.WithDisabledLocalFiltering(false),
	)
	if err != nil {
		return nil, err
	}
	return contentrouter.NewContentRoutingClient(client), nil
}

// names are the IPNS records that were put here; others are asked of the router.
type names struct {
	routing.ValueStore

	lock    sync.Mutex
	records map[string][]byte
}

func newNames(router routing.ValueStore) *names {
	return &names{ValueStore: router, records: map[string][]byte{}}
}

// PutValue keeps a record that is good, unless a newer one of its name is here.
func (n *names) PutValue(_ context.Context, key string, value []byte, _ ...routing.Option) error {
	check := ipns.Validator{}
	if err := check.Validate(key, value); err != nil {
		return err
	}
	n.lock.Lock()
	defer n.lock.Unlock()
	if old, ok := n.records[key]; ok {
		best, err := check.Select(key, [][]byte{old, value})
		if err != nil {
			return err
		}
		value = [][]byte{old, value}[best]
	}
	n.records[key] = value
	return nil
}

// GetValue gives the record that is here, or else the router's.
func (n *names) GetValue(
	ctx context.Context, key string, with ...routing.Option,
) ([]byte, error) {
	if value, ok := n.kept(key); ok {
		return value, nil
	}
	return n.ValueStore.GetValue(ctx, key, with...)
}

// SearchValue is GetValue for those who wait for better records, which do not come.
func (n *names) SearchValue(
	ctx context.Context, key string, with ...routing.Option,
) (<-chan []byte, error) {
	value, ok := n.kept(key)
	if !ok {
		return n.ValueStore.SearchValue(ctx, key, with...)
	}
	found := make(chan []byte, 1)
	found <- value
	close(found)
	return found, nil
}

func (n *names) kept(key string) ([]byte, bool) {
	n.lock.Lock()
	defer n.lock.Unlock()
	value, ok := n.records[key]
	return value, ok
}
