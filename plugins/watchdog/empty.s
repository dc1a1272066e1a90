// The functions without a body in thread_linux.go need a file like this one.
