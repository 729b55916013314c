package config

// Events say what is news of a finding.
type Events struct {
	// Estimated probability of exploitation within 30 days (EPSS), in percent, from which a finding escalates. It does so again only after the estimate fell a fifth below.
	EPSSPercent int `yaml:"epss_percent" default:"50"`
}

func (c Config) checkEvents(ps *Problems) {
	ps.between("events.epss_percent", c.Events.EPSSPercent, 1, 100)
}
