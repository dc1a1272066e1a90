package csa

import (
	"os"
	"testing"

	"bulkhead/internal/awaittest"
)

func TestMain(m *testing.M) { os.Exit(awaittest.Beside(m).Run()) }
