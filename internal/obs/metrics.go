package obs

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is the registry of one server with the measurements that every server has.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

// NewMetrics returns a registry with the runtime's and the process's own metrics and the server's
// version and implementation of RSA.
func NewMetrics(version, rsa string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "latchkey_http_request_seconds",
			Help:    "Time from the header of a request to the end of its answer, by service and status.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9), // 0.5 ms to 33 s
		}, []string{"service", "status"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "latchkey_info", Help: "Always 1; the labels are the version and the implementation of RSA.", ConstLabels: prometheus.Labels{"version": version, "rsa": rsa},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registerer is where other packages' collectors are registered.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// ObserveRequest counts one finished request. service must be one of a fixed set.
func (m *Metrics) ObserveRequest(service string, status int, elapsed time.Duration) {
	m.requests.WithLabelValues(service, strconv.Itoa(status)).Observe(elapsed.Seconds())
}

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}
