package main

import (
	"context"
	"errors"
	"io"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
	"github.com/ipld/go-car/v2"
	"github.com/multiformats/go-multihash"
)

const batch = 128 // blocks that are written at a time, as by `ipfs dag import`

// imported is what a CAR brought. Counts are of the CAR: a block may stand in it twice.
type imported struct {
	Roots  []string `json:"roots"`
	Blocks int      `json:"blocks"`
	Bytes  int      `json:"bytes"`
}

// importCar keeps all blocks of a CAR, each checked against its CID; those before a bad one stay.
func (n *node) importCar(ctx context.Context, from io.Reader) (imported, error) {
	reader, err := car.NewBlockReader(from)
	if err != nil {
		return imported{}, err
	}
	said := imported{Roots: []string{}}
	for _, root := range reader.Roots {
		said.Roots = append(said.Roots, root.String())
	}
	var waiting []blocks.Block
	for {
		block, err := reader.Next()
		if block != nil {
			said.Blocks++
			said.Bytes += len(block.RawData())
			waiting = append(waiting, block)
		}
		if err != nil || len(waiting) == batch {
			if err := n.blocks.PutMany(ctx, waiting); err != nil {
				return said, err
			}
			waiting = nil
		}
		if errors.Is(err, io.EOF) {
			return said, nil
		}
		if err != nil {
			return said, err
		}
	}
}

// counted is how much of a DAG is here. Each block counts once, identity CIDs do not.
type counted struct {
	Blocks  int      `json:"blocks"`
	Bytes   int      `json:"bytes"`
	Missing []string `json:"missing"`
}

// count walks a DAG through what is here.
func (n *node) count(ctx context.Context, root cid.Cid) (counted, error) {
	said := counted{Missing: []string{}}
	dag := n.dag(false)
	seen := cid.NewSet()
	for waiting := []cid.Cid{root}; len(waiting) > 0; {
		last := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		if !seen.Visit(last) {
			continue
		}
		node, err := dag.Get(ctx, last)
		if format.IsNotFound(err) {
			said.Missing = append(said.Missing, last.String())
			continue
		}
		if err != nil {
			return said, err
		}
		if last.Prefix().MhType != multihash.IDENTITY {
			said.Blocks++
			said.Bytes += len(node.RawData())
		}
		for _, link := range node.Links() {
			waiting = append(waiting, link.Cid)
		}
	}
	return said, nil
}

// pin fetches all below root and keeps it.
func (n *node) pin(ctx context.Context, root cid.Cid) error {
	node, err := n.dag(true).Get(ctx, root)
	if err != nil {
		return err
	}
	return n.pins.Pin(ctx, node, true, "")
}
