package config

import (
	"path/filepath"

	"github.com/BurntSushi/toml"
)

// StateFolder is the absolute path of the state folder that the file at path names, whatever else
// is wrong with that file. It is where its daemon is found. The error is an Errors, where the file
// cannot be read, or is no TOML at all.
func StateFolder(path string) (string, error) {
	src, err := readFile(path)
	if err != nil {
		_, err = Load(path)
		return "", err
	}
	var only struct {
		Host struct{ State any }
	}
	if _, wrong := toml.Decode(string(src), &only); wrong != nil {
		// Load finds that, too, and knows how to say it.
		if _, err := Load(path); err != nil {
			return "", err
		}
		return "", Errors{{File: path, What: wrong.Error()}}
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	if own, ok := only.Host.State.(string); ok && own != "" {
		return absolute(own, dir), nil
	}
	return filepath.Join(dir, "state"), nil
}
