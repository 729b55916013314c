package filelock

import "io/fs"

// occupied is taken for the size.
func occupied(info fs.FileInfo) int64 { return info.Size() }
