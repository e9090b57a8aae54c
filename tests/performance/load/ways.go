package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The contract takes no more commands in one message.
const mostInMessage = 256

// Enter sends by one session: what is to be sent while a message is written travels with the next.
func enter(ctx context.Context, connection *grpc.ClientConn, orders *orders, inFlight int, timed *clock) error {
	described := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	session, err := connection.NewStream(ctx, described, "/tickmesh.order.v1.OrderService/EnterOrders")
	if err != nil {
		return err
	}
	free := make(chan int, inFlight)
	for range inFlight {
		free <- 1
	}
	var mutex sync.Mutex
	sent := make([]time.Time, 1, 1<<20)
	failed := make(chan error, 1)
	go func() {
		err := send(session, orders, free, timed, func(count int) int {
			mutex.Lock()
			defer mutex.Unlock()
			first, now := len(sent), time.Now()
			for range count {
				sent = append(sent, now)
			}
			return first
		})
		failed <- errors.Join(err, session.CloseSend())
	}()
	for {
		message := dynamicpb.NewMessage(orders.entered)
		if err := session.RecvMsg(message); errors.Is(err, io.EOF) {
			return <-failed
		} else if err != nil {
			return err
		}
		numbers, err := orders.acknowledged(message)
		if err != nil {
			return err
		}
		for _, number := range numbers {
			mutex.Lock()
			since := sent[number]
			mutex.Unlock()
			timed.count(since)
		}
		if len(numbers) > 0 {
			free <- len(numbers)
		}
	}
}

// Send writes as many orders as are free to be sent, until the time is over; the session then ends by itself.
func send(session grpc.ClientStream, orders *orders, free <-chan int, timed *clock, number func(int) int) error {
	for !timed.over() {
		count := <-free
		for more := true; more && count < mostInMessage; {
			select {
			case another := <-free:
				count += another
			default:
				more = false
			}
		}
		for count > 0 {
			part := min(count, mostInMessage)
			first := number(part)
			numbers := make([]int, part)
			for i := range numbers {
				numbers[i] = first + i
			}
			if err := session.SendMsg(orders.message(numbers)); err != nil {
				return err
			}
			count -= part
		}
	}
	return nil
}

// Call sends each order by a call of its own, or asks for the service's health.
func call(ctx context.Context, connection *grpc.ClientConn, orders *orders, inFlight int, timed *clock, bare bool) error {
	var mutex sync.Mutex
	var working sync.WaitGroup
	failures := make(chan error, inFlight)
	for worker := range inFlight {
		working.Add(1)
		go func() {
			defer working.Done()
			for number := worker; !timed.over(); number += inFlight {
				sent := time.Now()
				if err := once(ctx, connection, orders, number, bare); err != nil {
					failures <- err
					return
				}
				mutex.Lock()
				timed.count(sent)
				mutex.Unlock()
			}
		}()
	}
	working.Wait()
	close(failures)
	return <-failures
}

func once(ctx context.Context, connection *grpc.ClientConn, orders *orders, number int, bare bool) error {
	if bare {
		var answer []byte
		return connection.Invoke(ctx, "/grpc.health.v1.Health/Check", []byte{}, &answer, grpc.ForceCodecV2(raw{}))
	}
	answer := dynamicpb.NewMessage(orders.order)
	return connection.Invoke(ctx, "/tickmesh.order.v1.OrderService/CreateOrder", orders.numbered(number), answer)
}

// Raw leaves bytes as they are: what a health check says is of no interest here.
type raw struct{}

var _ encoding.CodecV2 = raw{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(any) (mem.BufferSlice, error) { return nil, nil }

func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }
