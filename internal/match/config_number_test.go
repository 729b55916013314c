package match

import "testing"

// Two versions of the service beside each other decide by the number which of them
// gives way.
func TestTheNumberOfTheConfigurationGrowsWithIt(t *testing.T) {
	names := map[int]string{
		1: "1-a6f15f0d3fe1",
	}
	if got := configName(); got != names[configNumber] {
		t.Errorf("the configuration is %s and was %s: raise configNumber and add a line here", got, names[configNumber])
	}
}
