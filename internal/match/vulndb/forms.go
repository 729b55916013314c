package vulndb

// The shapes below are those that grype's build library reads, cut down to the
// fields Tidewaiter fills. They follow the result schemas of the vunnel project.

// githubItem is an advisory on packages of programming languages.
type githubItem struct {
	Advisory githubAdvisory `json:"Advisory"`
}

type githubAdvisory struct {
	ID         string        `json:"ghsaId"`
	CVE        []string      `json:"CVE"`
	Severities []githubCVSS  `json:"cvss_severities"`
	FixedIn    []githubFixed `json:"FixedIn"`
	Severity   string        `json:"Severity,omitempty"`
	Summary    string        `json:"Summary,omitempty"`
	URL        string        `json:"url,omitempty"`
	Published  string        `json:"published,omitempty"`
	Updated    string        `json:"updated,omitempty"`
	Withdrawn  string        `json:"withdrawn,omitempty"`
	References []reference   `json:"references,omitempty"`
}

type githubCVSS struct {
	Vector  string `json:"vector"`
	Version string `json:"version"`
}

// githubFixed is one range of one package. Range takes comparators only, as in
// ">= 2.0, < 2.3.1"; alternatives are further githubFixed.
type githubFixed struct {
	Ecosystem  string `json:"ecosystem"`
	Name       string `json:"name"`
	Range      string `json:"range"`
	Identifier string `json:"identifier"` // the fixed version, empty without one
}

type reference struct {
	URL string `json:"url"`
}

// osItem is an advisory on packages of one release of a distribution.
type osItem struct {
	Vulnerability osVulnerability `json:"Vulnerability"`
}

type osVulnerability struct {
	Name        string     `json:"Name"`
	Namespace   string     `json:"NamespaceName"` // such as "debian:12"
	Severity    string     `json:"Severity,omitempty"`
	CVSS        []osCVSS   `json:"CVSS,omitempty"`
	Description string     `json:"Description,omitempty"`
	Link        string     `json:"Link,omitempty"`
	FixedIn     []osFixed  `json:"FixedIn"`
	Metadata    osMetadata `json:"Metadata"`
}

type osCVSS struct {
	Vector  string `json:"vector_string"`
	Version string `json:"version"`
}

type osMetadata struct {
	Issued  string  `json:"Issued,omitempty"`
	Updated string  `json:"Updated,omitempty"`
	CVE     []osCVE `json:"CVE,omitempty"`
}

type osCVE struct {
	Name string `json:"Name"`
	Link string `json:"Link,omitempty"`
}

// osFixed is one range of one source package. VulnerableRange, when there is
// one, takes the place of "< Version".
type osFixed struct {
	Name            string `json:"Name"`
	Namespace       string `json:"NamespaceName"`
	Version         string `json:"Version"` // "None" while there is no fix
	VersionFormat   string `json:"VersionFormat"`
	VulnerableRange string `json:"VulnerableRange,omitempty"`
}

// noFix is how vunnel writes that there is no fixed version.
const noFix = "None"

// nvdItem is the part of an NVD record that gives a CVE its words and score.
type nvdItem struct {
	CVE nvdCVE `json:"cve"`
}

type nvdCVE struct {
	ID           string        `json:"id"`
	Published    string        `json:"published"`
	LastModified string        `json:"lastModified"`
	Status       string        `json:"vulnStatus"`
	Descriptions []nvdText     `json:"descriptions"`
	Metrics      nvdMetrics    `json:"metrics"`
	References   []reference   `json:"references"`
	Weaknesses   []nvdWeakness `json:"weaknesses,omitempty"`
}

type nvdText struct {
	Lang  string `json:"lang"`
	Value string `json:"value"`
}

type nvdMetrics struct {
	CVSS30 []nvdCVSS `json:"cvssMetricV30,omitempty"`
	CVSS31 []nvdCVSS `json:"cvssMetricV31,omitempty"`
}

type nvdCVSS struct {
	Data   nvdCVSSData `json:"cvssData"`
	Source string      `json:"source"`
	Type   string      `json:"type"`
}

type nvdCVSSData struct {
	Vector  string `json:"vectorString"`
	Version string `json:"version"`
}

type nvdWeakness struct {
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Description []nvdText `json:"description"`
}

// kevItem is an entry of the catalogue of known exploited vulnerabilities.
type kevItem struct {
	CVE        string   `json:"cveID"`
	Vendor     string   `json:"vendorProject"`
	Product    string   `json:"product"`
	Name       string   `json:"vulnerabilityName"`
	Added      string   `json:"dateAdded"`
	Due        string   `json:"dueDate"`
	Action     string   `json:"requiredAction"`
	Ransomware string   `json:"knownRansomwareCampaignUse"`
	CWEs       []string `json:"cwes,omitempty"`
}

// epssItem is one day's estimate for a CVE.
type epssItem struct {
	CVE        string  `json:"cve"`
	Score      float64 `json:"epss"`
	Percentile float64 `json:"percentile"`
	Date       string  `json:"date"`
}

// eolItem is a release of a distribution with its end of support.
type eolItem struct {
	Product string `json:"product"`
	Name    string `json:"name"`
	EOL     string `json:"eolFrom"`
}
