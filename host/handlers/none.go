package handlers

import (
	"bulkhead/csa"
	"bulkhead/plugins"
)

// None is for a listener whose routes take every connection, or leave the others unserved.
var None Provider = none{}

type none struct{}

func (none) Start()                        {}
func (none) Reserve() int                  { return -1 }
func (none) Peer(int) csa.Handler          { return nil }
func (none) Assign(Arrival)                {}
func (none) Release(csa.Handler)           {}
func (none) Stop()                         {}
func (none) StopOne(csa.Handler)           {}
func (none) Retain(*plugins.Instance, int) {}
func (none) Close()                        {}
