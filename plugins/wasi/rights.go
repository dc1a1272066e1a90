package wasi

// Rights of descriptors. They say what may be asked of a descriptor, and are reported and given up
// as the specification has it. Only reading and writing are held back by them: what else they name
// is either harmless, or changes a folder, which nobody may.
const (
	rightDataSync         = 1 << 0
	rightRead             = 1 << 1
	rightSeek             = 1 << 2
	rightSetFlags         = 1 << 3
	rightSync             = 1 << 4
	rightTell             = 1 << 5
	rightWrite            = 1 << 6
	rightAdvise           = 1 << 7
	rightAllocate         = 1 << 8
	rightCreateFolder     = 1 << 9
	rightCreateFile       = 1 << 10
	rightLinkSource       = 1 << 11
	rightLinkTarget       = 1 << 12
	rightOpen             = 1 << 13
	rightReaddir          = 1 << 14
	rightReadLink         = 1 << 15
	rightRenameSource     = 1 << 16
	rightRenameTarget     = 1 << 17
	rightPathStat         = 1 << 18
	rightPathSetTimes     = 1 << 20
	rightStat             = 1 << 21
	rightSetSize          = 1 << 22
	rightSetTimes         = 1 << 23
	rightSymlink          = 1 << 24
	rightRemoveFolder     = 1 << 25
	rightUnlink           = 1 << 26
	rightPoll             = 1 << 27
	rightsToChangeAFolder = rightCreateFolder | rightCreateFile | rightLinkSource | rightLinkTarget | rightRenameSource |
		rightRenameTarget | rightPathSetTimes | rightSetTimes | rightSymlink | rightRemoveFolder | rightUnlink

	// rightsInput and rightsOutput are those of the streams.
	rightsInput  = rightRead | rightPoll
	rightsOutput = rightWrite | rightPoll
	// rightsFolder are those of a folder. What is not allowed is among them, so that C libraries
	// ask for it, and get an error that says why.
	rightsFolder = rightSetFlags | rightSync | rightOpen | rightReaddir | rightReadLink | rightPathStat | rightStat | rightsToChangeAFolder
	// rightsFile are those that a file may have, and rightsBelow what may be asked for of what
	// is in a folder.
	rightsFile  = rightDataSync | rightRead | rightSeek | rightSetFlags | rightSync | rightTell | rightAdvise | rightStat | rightPoll
	rightsBelow = rightsFolder | rightsFile | rightWrite | rightAllocate | rightSetSize
)

// setRights gives up rights of a descriptor.
func setRights(_ *Process, f *file, s []uint64) Errno {
	base, inheriting := s[1], s[2]
	if base&^f.rights != 0 || inheriting&^f.inheriting != 0 {
		return NotCapable
	}
	f.rights, f.inheriting = base, inheriting
	return Success
}
