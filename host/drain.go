package host

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"bulkhead/host/service"
)

// SetDrain has a listener, with its routes, take no new connections, or take them again. "" means
// all listeners, those that a reload adds included. Connections that are open go on, and a
// connection that comes is closed at once with the cause drained; a new peer over UDP is turned
// away. It holds over reloads, until the host ends. changed are those listeners of the
// configuration for which that is something new. The error is that there is no such listener. Any
// goroutine but a loop's may call it.
func (h *Host) SetDrain(listener string, drain bool) (changed []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for i := range h.now.Load().config.Listeners {
		names = append(names, h.now.Load().config.Listeners[i].Name)
	}
	if listener != "" && !slices.Contains(names, listener) {
		if of, _, is := strings.Cut(listener, "/"); is && slices.Contains(names, of) {
			return nil, fmt.Errorf("%q is a route; what comes to it comes to its listener, %q", listener, of)
		}
		return nil, fmt.Errorf("there is no listener %q; there are %s", listener, strings.Join(names, ", "))
	}
	before := h.machine.Drains.Load()
	next := service.Drains{Listeners: make(map[string]bool)}
	switch {
	case listener == "":
		next.All = drain
	case drain:
		next.All = before.Of(service.AllListeners)
		maps.Copy(next.Listeners, before.Names())
		next.Listeners[listener] = true
	default:
		for _, name := range names {
			if name != listener && before.Of(name) {
				next.Listeners[name] = true
			}
		}
	}
	h.machine.Drains.Store(&next)
	for _, name := range names {
		if before.Of(name) != next.Of(name) {
			changed = append(changed, name)
		}
	}
	return changed, nil
}
