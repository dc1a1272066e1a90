package plugins

import "bulkhead/abi"

// result is what csa_result tells the guest.
type result struct {
	token    int32
	status   abi.Code
	revision int64
	payload  []byte
}

// Result has the guest hear how an operation went that one of its calls began: csa_result, in an
// event of its own, once what the instance has to do before it is done; one that sleeps wakes.
// It is called on the loop, in an event, and not by a host function. The instance keeps payload
// until then. What is longer than the window is not told: the guest hears QUOTA in its place, so
// that who makes payload asks for Window's length first. A guest that has no csa_result, and an
// instance that is over, hear nothing.
func (i *Instance) Result(token int32, status abi.Code, revision int64, payload []byte) {
	if i.state != running || !i.module.has[callResult] {
		return
	}
	if len(payload) > int(i.length) {
		status, payload = abi.Quota, nil
	}
	if status != abi.OK {
		revision, payload = 0, nil
	}
	i.loop.Charge(i.cpu())
	i.loop.Serve(i)
	i.deliver(event{call: callResult, handle: -1, result: &result{token, status, revision, payload}})
	i.loop.Serve(nil)
}

// putResult puts a result into the window, where nobody's bytes are between two events.
func (i *Instance) putResult(r *result) {
	if i.state != running || len(r.payload) == 0 {
		return
	}
	copy(i.memory.Bytes()[i.window:uint64(i.window)+uint64(i.length)], r.payload)
	if !i.memory.Filled(len(r.payload)) {
		i.outOfMemory = true
	}
}

func (i *Instance) callResult(r *result) (uint64, bool) {
	return i.callWith(callResult, [4]uint64{uint64(uint32(r.token)), uint64(uint32(r.status)), uint64(r.revision), uint64(len(r.payload))})
}
