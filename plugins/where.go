package plugins

import "bytes"

// whereExport is the global that an interpreter exports for the host: the address of a text of at
// most whereRoom bytes, with a zero behind it, which says where in its script it is when an event
// takes long. What the engine's own functions are doing would say nothing to the script's author.
const (
	whereExport = "bulkhead_where"
	whereRoom   = 256
)

// where is what the guest that runs says of where it is, with ", " before it; empty where it says
// nothing. It is the guest's text, made fit for one line.
func (i *Instance) where() string {
	if i.exec == nil || i.exec.guest == nil {
		return ""
	}
	address := i.exec.guest.ExportedGlobal(whereExport)
	if address == nil {
		return ""
	}
	b, at := i.memory.Bytes(), uint64(uint32(address.Get()))
	if at >= uint64(len(b)) {
		return ""
	}
	b = b[at:min(at+whereRoom, uint64(len(b)))]
	n := bytes.IndexByte(b, 0)
	if n <= 0 {
		return ""
	}
	return ", " + printable(string(b[:n]))
}

// newTrap is the function newTrap. Of an interpreter that was stopped it does not say which of its
// functions were being called: the reason says where the script was.
func (i *Instance) newTrap(call string, err error) *Trap {
	t := newTrap(call, err)
	if t.Stop != StopNot && i.exec != nil && i.exec.guest != nil && i.exec.guest.ExportedGlobal(whereExport) != nil {
		t.In, t.at = "", nil
	}
	return t
}
