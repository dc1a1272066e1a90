// Package handover moves live connections to another process: the protocol between the process that
// has them (Give) and the one that goes on with them (Take). The two are joined by one pair of
// SOCK_SEQPACKET sockets. What a connection is, and what holding it still means, is the business of
// a Source and a Sink.
//
// A unit is what can only go as a whole. Units go in batches, in two phases:
//
//	giver                                taker
//	HELLO                          ->
//	                               <-    HELLO
//	IMAGE, its file                ->
//	                               <-    ANSWER        for each image
//	  freezes a batch
//	PREPARE, records, descriptors  ->
//	                                       makes units that do nothing yet
//	                               <-    ANSWER        units that are refused go on where they were
//	COMMIT                         ->
//	                                       units go on
//	                               <-    BEGUN
//	DONE                           ->
//	                               <-    DONE
//	OVER                           ->
//
// Until COMMIT is sent, whatever goes wrong leaves every unit where it was. From then on the giver
// keeps its copy of a unit for a guard time, after which it says OVER, and takes it back when
// something goes wrong with the taker, unless that has touched it. Who has a unit is decided by one
// atomic operation on its mark, in memory that both processes have: the taker sets it before it
// does anything with the unit's sockets, and the giver when it takes the unit back, and whoever is
// second leaves the unit alone.
package handover

import (
	"errors"
	"fmt"
	"time"

	"bulkhead/host/handover/record"
)

// The kinds of messages.
type kind byte

const (
	hello kind = 1 + iota
	image
	answer
	prepare
	commit
	begun
	done
	over
)

var kinds = [...]string{"", "HELLO", "IMAGE", "ANSWER", "PREPARE", "COMMIT", "BEGUN", "DONE", "OVER"}

func (k kind) String() string {
	if int(k) < len(kinds) && k > 0 {
		return kinds[k]
	}
	return fmt.Sprintf("message %d", byte(k))
}

// Step is a point of the protocol, for tests that have something go wrong there.
type Step string

// The steps, of the giver and of the taker, in their order.
const (
	GiveHello    Step = "give: hello"
	GiveImage    Step = "give: image"
	GiveFrozen   Step = "give: a batch is frozen"
	GivePrepared Step = "give: PREPARE is sent"
	GiveAnswered Step = "give: the answer has come"
	GiveCommit   Step = "give: COMMIT is sent"
	GiveBegun    Step = "give: BEGUN has come"
	GiveDone     Step = "give: DONE is sent"
	GiveGuard    Step = "give: the guard time runs"

	TakeHello    Step = "take: hello"
	TakeImage    Step = "take: image"
	TakePrepare  Step = "take: PREPARE has come"
	TakeAdopted  Step = "take: a batch is adopted"
	TakeAnswered Step = "take: the answer is sent"
	TakeCommit   Step = "take: COMMIT has come"
	TakeBegun    Step = "take: a batch has begun"
	TakeDone     Step = "take: DONE has come"
)

// Steps are all of them.
var Steps = []Step{
	GiveHello, GiveImage, GiveFrozen, GivePrepared, GiveAnswered, GiveCommit, GiveBegun, GiveDone, GiveGuard,
	TakeHello, TakeImage, TakePrepare, TakeAdopted, TakeAnswered, TakeCommit, TakeBegun, TakeDone,
}

const (
	// DefaultBatch is how many units go at once.
	DefaultBatch = 64
	// DefaultGuard is how long the giver keeps what it has given.
	DefaultGuard = 5 * time.Second
	// DefaultPatience is how long the giver waits for an answer.
	DefaultPatience = 2 * time.Second
	// mostDescriptors is how many one message may have: the kernel takes 253.
	mostDescriptors = 250
	// mostRecords bounds the records of a batch, in bytes.
	mostRecords = 256 << 20
	// mostUnits is how many units can be given over one pair of sockets: there is a mark for each.
	mostUnits = 1 << 20
	// reserve is how many descriptors the taker is left.
	reserve = 64
	// lookAtMarks is how often the giver looks at them.
	lookAtMarks = 20 * time.Millisecond
)

// Report says what has become of the units.
type Report struct {
	// Given went to the other process, or came from it. Refused did not, since it would not have
	// them: Why says how often for which reason. Returned were given, and came back since the other
	// process died, and Lost died with it.
	Given, Refused, Returned, Lost int
	Why                            map[string]int
	// Images that the other process would not have: their instances stay.
	ImagesRefused int
	// Longest is how long a unit was held still at most, as the giver sees it, and Total the sum of
	// that of all.
	Longest, Total time.Duration
}

func (r *Report) refuse(why string) {
	r.Refused++
	if r.Why == nil {
		r.Why = make(map[string]int)
	}
	r.Why[why]++
}

// Options are those of both sides. The zero value serves well.
type Options struct {
	// Batch is how many units go at once, Guard how long the giver keeps what it has given,
	// Patience how long it waits for an answer. Zero: the defaults; a Guard below zero is none.
	Batch           int
	Guard, Patience time.Duration
	// Step, if it is not nil, is called at each step. An error of it is taken for one of the step.
	Step func(Step) error
}

func (o *Options) complete() {
	if o.Batch <= 0 || o.Batch > record.MostUnits {
		o.Batch = DefaultBatch
	}
	if o.Guard == 0 {
		o.Guard = DefaultGuard
	}
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
}

func (o *Options) at(s Step) error {
	if o.Step == nil {
		return nil
	}
	return o.Step(s)
}

// What a mark says.
const (
	untouched = 0
	touched   = 1 // csa.Loop.Adopt sets it
	takenBack = 2
)

var errVersion = errors.New("the other process writes another version of records")
