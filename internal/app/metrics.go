package app

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/latchkey-db/latchkey/internal/envelope"
)

// keyMetrics are the measurements of the accounts' keys.
type keyMetrics struct{ keeper *envelope.Keeper }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("latchkey_"+name, help, labels, nil)
}

var (
	descAccounts     = describe("accounts", "Accounts by state.", "state")
	descProbes       = describe("key_checks_total", "Checks of customers' keys by the sub-status of their failure, 0 for good ones.", "substatus")
	descLocks        = describe("account_locks_total", "Accounts that were closed because their key was denied.")
	descLockSeconds  = describe("account_lock_seconds_total", "Time that these took from the denial to the wiped keys.")
	descSilent       = describe("key_unconfirmed_seconds", "The longest time for which an open account's key was not confirmed.")
	descCache        = describe("store_cache_bytes", "Decrypted blocks in the caches of all open accounts.")
	descReencryptOld = describe("reencryption_remaining_bytes", "Bytes of files under retired data keys, as far as they were looked at.")
	descReencrypting = describe("reencryption_accounts", "Accounts with retired data keys.")
)

// states are all states, so that each has a value from the start.
var states = []envelope.State{
	envelope.StateSealed, envelope.StateOpening, envelope.StateOpen, envelope.StateGrace, envelope.StateDraining,
	envelope.StateRevoked, envelope.StateLocked, envelope.StateQuarantined,
}

// Describe implements [prometheus.Collector].
func (m keyMetrics) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, to) }

// Collect implements [prometheus.Collector].
func (m keyMetrics) Collect(to chan<- prometheus.Metric) {
	s := m.keeper.Stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for _, state := range states {
		gauge(descAccounts, float64(s.States[state]), string(state))
	}
	for substatus, n := range s.Probes {
		counter(descProbes, float64(n), strconv.Itoa(substatus))
	}
	counter(descLocks, float64(s.Locks))
	counter(descLockSeconds, s.LockTime.Seconds())
	gauge(descSilent, s.SilentFor.Seconds())
	gauge(descCache, float64(s.CacheBytes))
	gauge(descReencryptOld, float64(s.ReencryptOld))
	gauge(descReencrypting, float64(s.DataKeysRetired))
}
