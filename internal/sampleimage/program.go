package sampleimage

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
)

// GoProgram is a Go program as far as its build information goes; it cannot
// run.
type GoProgram struct {
	// Name is the file name under /usr/local/bin.
	Name string
	// Main is the module path of the program, Version its version; "(devel)"
	// when empty.
	Main, Version string
	// GoVersion is the toolchain, as "go1.20.1".
	GoVersion string
	Deps      []Package
}

func (p GoProgram) write(t tree) error {
	binary, err := p.elf()
	if err != nil {
		return fmt.Errorf("sampleimage: program %s: %w", p.Name, err)
	}
	t.addMode("/usr/local/bin/"+p.Name, string(binary), 0o755)
	return nil
}

// moduleInfo is the text `go version -m` prints, between the two marks the
// linker puts around it (cmd/go/internal/modload, infoStart and infoEnd).
func (p GoProgram) moduleInfo() string {
	version := p.Version
	if version == "" {
		version = "(devel)"
	}
	var b strings.Builder
	b.WriteString("0w\xaf\f\x92t\b\x02A\xe1\xc1\a\xe6\xd6\x18\xe6")
	fmt.Fprintf(&b, "path\t%s\nmod\t%s\t%s\t\n", p.Main, p.Main, version)
	for _, d := range p.Deps {
		fmt.Fprintf(&b, "dep\t%s\t%s\th1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", d.Name, d.Version)
	}
	b.WriteString("build\t-compiler=gc\nbuild\tCGO_ENABLED=0\nbuild\tGOARCH=amd64\nbuild\tGOOS=linux\n")
	b.WriteString("\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2")
	return b.String()
}

// buildInfo is the content of the section .go.buildinfo in the form used since
// Go 1.18: a header, then two strings with their lengths before them
// (debug/buildinfo, readRawBuildInfo).
func (p GoProgram) buildInfo() []byte {
	b := make([]byte, 32)
	copy(b, "\xff Go buildinf:")
	b[14], b[15] = 8, 2
	for _, s := range []string{p.GoVersion, p.moduleInfo()} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// The layout of the file: header, one program header, the build information,
// the section names, three section headers.
const (
	elfHeaderSize     = 64
	programHeaderSize = 56
	sectionHeaderSize = 64
	infoOffset        = 128 // a multiple of 16, where readers look for it
	loadAddress       = 0x400000
)

// elf writes a 64-bit little-endian executable of one segment.
func (p GoProgram) elf() ([]byte, error) {
	const sectionNames = "\x00.go.buildinfo\x00.shstrtab\x00"
	info := p.buildInfo()
	namesOffset := infoOffset + len(info)
	sectionsOffset := (namesOffset + len(sectionNames) + 7) &^ 7

	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: loadAddress + infoOffset, Phoff: elfHeaderSize, Shoff: uint64(sectionsOffset),
		Ehsize: elfHeaderSize, Phentsize: programHeaderSize, Phnum: 1,
		Shentsize: sectionHeaderSize, Shnum: 3, Shstrndx: 2,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Vaddr: loadAddress, Paddr: loadAddress,
		Filesz: uint64(sectionsOffset), Memsz: uint64(sectionsOffset), Align: 4096,
	}
	sections := [3]elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_WRITE), Addr: loadAddress + infoOffset, Off: infoOffset, Size: uint64(len(info)), Addralign: 16},
		{Name: 15, Type: uint32(elf.SHT_STRTAB), Off: uint64(namesOffset), Size: uint64(len(sectionNames)), Addralign: 1},
	}
	return assemble(sectionsOffset, header, segment, sections, info, sectionNames)
}

func assemble(sectionsOffset int, header elf.Header64, segment elf.Prog64, sections [3]elf.Section64, info []byte, names string) ([]byte, error) {
	var b bytes.Buffer
	for _, part := range []any{header, segment} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	b.Write(make([]byte, infoOffset-b.Len()))
	b.Write(info)
	b.WriteString(names)
	b.Write(make([]byte, sectionsOffset-b.Len()))
	if err := binary.Write(&b, binary.LittleEndian, sections); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
