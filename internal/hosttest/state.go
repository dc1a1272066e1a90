package hosttest

import "bulkhead/internal/statetest"

// State is [statetest.Folder], which tests share.
func State() string { return statetest.Folder() }
