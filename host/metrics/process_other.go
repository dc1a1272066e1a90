//go:build !linux

package metrics

func openDescriptors() (int64, bool) { return 0, false }
func residentMemory() (int64, bool)  { return 0, false }
func mostMappings() (int64, bool)    { return 0, false }
