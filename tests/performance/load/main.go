// Load keeps orders in flight and says how many a second were acknowledged, and how long each took.
//
//	go run . -address 127.0.0.1:50053 -way enter -in-flight 64 -seconds 5
//
// What it sends is made of the committed descriptor set, so no Go code is generated. It prints one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A run's figures; latencies in microseconds, times in seconds.
type result struct {
	Way      string  `json:"way"`
	InFlight int     `json:"in_flight"`
	Count    int     `json:"count"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"rate"`
	P50      float64 `json:"p50_us"`
	P90      float64 `json:"p90_us"`
	P99      float64 `json:"p99_us"`
	Most     float64 `json:"most_us"`
	Began    float64 `json:"began"`
	Ended    float64 `json:"ended"`
}

// A clock that says which latencies count: those of what was sent after the warm-up and before the end.
type clock struct {
	began, until time.Time
	latencies    []time.Duration
}

func (c *clock) over() bool { return !time.Now().Before(c.until) }

func (c *clock) count(sent time.Time) {
	now := time.Now()
	if sent.After(c.began) && now.Before(c.until) {
		c.latencies = append(c.latencies, now.Sub(sent))
	}
}

func main() {
	address := flag.String("address", "127.0.0.1:50053", "of the order service")
	descriptors := flag.String("descriptors", "gen/tickmesh.binpb", "the contract's descriptor set")
	way := flag.String("way", "enter", "enter: a session; create: a call an order; bare: health checks")
	inFlight := flag.Int("in-flight", 64, "orders that are sent and not yet acknowledged")
	seconds := flag.Float64("seconds", 5, "that count")
	warmUp := flag.Float64("warm-up", 1, "seconds before those")
	portfolio := flag.String("portfolio", "load", "whose orders")
	symbol := flag.String("symbol", "AAPL", "what they buy")
	price := flag.String("price", "1.5", "their limit, which no price here reaches")
	flag.Parse()

	orders, err := newOrders(*descriptors, *portfolio, *symbol, *price)
	check(err)
	connection, err := grpc.NewClient(*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	defer connection.Close()

	began := time.Now().Add(duration(*warmUp))
	timed := &clock{began: began, until: began.Add(duration(*seconds)), latencies: make([]time.Duration, 0, 1<<20)}
	ctx, cancel := context.WithTimeout(context.Background(), duration(*warmUp+*seconds+30))
	defer cancel()
	switch *way {
	case "enter":
		err = enter(ctx, connection, orders, *inFlight, timed)
	case "create", "bare":
		err = call(ctx, connection, orders, *inFlight, timed, *way == "bare")
	default:
		err = fmt.Errorf("no such way: %s", *way)
	}
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(told(*way, *inFlight, timed)))
}

func told(way string, inFlight int, timed *clock) result {
	slices.Sort(timed.latencies)
	count, seconds := len(timed.latencies), timed.until.Sub(timed.began).Seconds()
	at := func(share float64) float64 {
		if count == 0 {
			return 0
		}
		return float64(timed.latencies[min(count-1, int(float64(count)*share))].Nanoseconds()) / 1e3
	}
	return result{
		Way: way, InFlight: inFlight, Count: count, Seconds: seconds, Rate: float64(count) / seconds,
		P50: at(0.5), P90: at(0.9), P99: at(0.99), Most: at(1),
		Began: unix(timed.began), Ended: unix(timed.until),
	}
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func unix(at time.Time) float64 { return float64(at.UnixNano()) / 1e9 }

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
