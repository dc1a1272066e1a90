// Package browsertest looks at the page of a daemon in Chromium. It is a module of its own, so that
// the host's tests need nothing but Go: .ci/run installs Chromium and runs it. With
// BULKHEAD_SCREENSHOTS set to a folder, its tests leave what they have seen there.
package browsertest
