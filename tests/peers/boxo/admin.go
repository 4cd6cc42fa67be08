package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	patience      = time.Minute // for what is fetched, where nobody says another
	longestRecord = 10 << 10    // bytes of an IPNS record, by its specification
)

// failure is an error with the HTTP status that tells it.
type failure struct {
	status int
	error
}

// admin makes the requests by which a test tells the peer what to do. Answers are JSON.
//
//	POST   /import                 the body is a CAR
//	POST   /pin?cid=&timeout=      fetch all below, keep it; counts
//	GET    /pins                   what is pinned
//	DELETE /pin?cid=
//	GET    /count?cid=             how much of a DAG is here, and which blocks are not
//	GET    /block?cid=             404, or its size
//	DELETE /block?cid=
//	POST   /connect?addr=          to a multiaddr that ends in /p2p/ID
//	PUT    /name?name=             the body is an IPNS record
//	GET    /stats
func (n *node) admin() http.Handler {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(*http.Request) (any, error){
		"POST /import":  n.importAsked,
		"POST /pin":     withCid(n.pinAsked),
		"GET /pins":     n.pinned,
		"DELETE /pin":   withCid(n.unpin),
		"GET /count":    withCid(n.countAsked),
		"GET /block":    withCid(n.size),
		"DELETE /block": withCid(n.drop),
		"POST /connect": n.connect,
		"PUT /name":     n.putName,
		"GET /stats":    n.stats,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			said, err := answer(r)
			tell(w, said, err)
		})
	}
	return mux
}

// tell writes an answer, or an error as {"error": ...}.
func tell(w http.ResponseWriter, said any, err error) {
	status := http.StatusOK
	if err != nil {
		status = http.StatusInternalServerError
		var known failure
		if errors.As(err, &known) {
			status = known.status
		} else if errors.Is(err, context.DeadlineExceeded) {
			status = http.StatusGatewayTimeout
		}
		said = map[string]string{"error": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone: then nobody is left to be told.
	_ = json.NewEncoder(w).Encode(said)
}

// withCid reads the CID that a request is about.
func withCid(
	answer func(*http.Request, cid.Cid) (any, error),
) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		name, err := cid.Decode(r.URL.Query().Get("cid"))
		if err != nil {
			return nil, failure{http.StatusBadRequest, err}
		}
		return answer(r, name)
	}
}

func (n *node) importAsked(r *http.Request) (any, error) {
	said, err := n.importCar(r.Context(), r.Body)
	if err != nil {
		return nil, failure{http.StatusBadRequest, err}
	}
	return said, nil
}

func (n *node) pinAsked(r *http.Request, root cid.Cid) (any, error) {
	limit := patience
	if text := r.URL.Query().Get("timeout"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			return nil, failure{http.StatusBadRequest, err}
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	if err := n.pin(ctx, root); err != nil {
		return nil, err
	}
	return n.count(r.Context(), root)
}

func (n *node) unpin(r *http.Request, root cid.Cid) (any, error) {
	return nil, n.pins.Unpin(r.Context(), root, true)
}

func (n *node) countAsked(r *http.Request, root cid.Cid) (any, error) {
	return n.count(r.Context(), root)
}

func (n *node) drop(r *http.Request, name cid.Cid) (any, error) {
	return nil, n.blocks.DeleteBlock(r.Context(), name)
}

func (n *node) pinned(r *http.Request) (any, error) {
	all := []string{}
	for each := range n.pins.RecursiveKeys(r.Context(), false) {
		if each.Err != nil {
			return nil, each.Err
		}
		all = append(all, each.Pin.Key.String())
	}
	return all, nil
}

func (n *node) size(r *http.Request, name cid.Cid) (any, error) {
	size, err := n.blocks.GetSize(r.Context(), name)
	if format.IsNotFound(err) {
		return nil, failure{http.StatusNotFound, err}
	}
	return map[string]int{"size": size}, err
}

func (n *node) connect(r *http.Request) (any, error) {
	info, err := peer.AddrInfoFromString(r.URL.Query().Get("addr"))
	if err != nil {
		return nil, failure{http.StatusBadRequest, err}
	}
	return nil, n.host.Connect(r.Context(), *info)
}

func (n *node) putName(r *http.Request) (any, error) {
	name, err := ipns.NameFromString(r.URL.Query().Get("name"))
	if err != nil {
		return nil, failure{http.StatusBadRequest, err}
	}
	record, err := io.ReadAll(io.LimitReader(r.Body, longestRecord+1))
	if err != nil {
		return nil, err
	}
	if err := n.names.PutValue(r.Context(), string(name.RoutingKey()), record); err != nil {
		return nil, failure{http.StatusBadRequest, err}
	}
	return nil, nil
}

// counters are what the exchange did since the peer began.
type counters struct {
	Received   uint64   `json:"received"` // blocks, by bitswap or HTTP
	Bytes      uint64   `json:"bytes"`
	Duplicates uint64   `json:"duplicates"`
	Sent       uint64   `json:"sent"` // blocks, by bitswap
	Peers      []string `json:"peers"`
}

func (n *node) stats(*http.Request) (any, error) {
	stat, err := n.exchange.Stat()
	if err != nil {
		return nil, err
	}
	peers := []string{}
	for _, each := range n.host.Network().Peers() {
		peers = append(peers, each.String())
	}
	return counters{
		stat.BlocksReceived, stat.DataReceived, stat.DupBlksReceived, stat.BlocksSent, peers,
	}, nil
}
