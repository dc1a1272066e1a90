package selector

// post is one function from another goroutine. The list is a stack that
// posters push on and the owner takes whole, so nobody locks.
type post struct {
	next *post
	run  func()
}

// noMorePosts closes the list.
var noMorePosts = &post{}

// Post has f run on the loop, after what was posted before by the same
// goroutine. It reports false, and f will never run, when the selector has
// stopped. Any goroutine may call it; however many do while the loop sleeps,
// the kernel is asked once to wake it.
func (s *Selector) Post(f func()) bool {
	p := &post{run: f}
	for {
		top := s.posts.Load()
		if top == noMorePosts {
			return false
		}
		p.next = top
		if s.posts.CompareAndSwap(top, p) {
			break
		}
	}
	s.wake()
	return true
}

// wake ends the loop's sleep, if it sleeps.
func (s *Selector) wake() {
	if !s.sleeping.Load() {
		return
	}
	s.wakers.Add(1)
	if !s.closed.Load() && s.sleeping.CompareAndSwap(true, false) {
		s.poll.wake()
	}
	s.wakers.Add(-1)
}

// takePosts takes what has been posted, oldest first.
func (s *Selector) takePosts() *post {
	if s.posts.Load() == nil {
		return nil
	}
	return reversed(s.posts.Swap(nil))
}

// lastPosts takes what has been posted and refuses all later posts.
func (s *Selector) lastPosts() *post {
	return reversed(s.posts.Swap(noMorePosts))
}

func reversed(p *post) *post {
	var list *post
	for p != nil && p != noMorePosts {
		next := p.next
		p.next = list
		list = p
		p = next
	}
	return list
}
