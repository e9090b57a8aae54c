package main

import (
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Orders makes requests that differ in their client's id alone.
type orders struct {
	portfolio, symbol, price, run          string
	create, command, enter, entered, order protoreflect.MessageDescriptor
}

func newOrders(path, portfolio, symbol, price string) (*orders, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return nil, err
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, err
	}
	found := func(name protoreflect.FullName) protoreflect.MessageDescriptor {
		described, missing := files.FindDescriptorByName(name)
		if missing != nil && err == nil {
			err = fmt.Errorf("%s: %w", name, missing)
			return nil
		}
		message, _ := described.(protoreflect.MessageDescriptor)
		return message
	}
	const in = "tickmesh.order.v1."
	made := &orders{
		portfolio: portfolio, symbol: symbol, price: price, run: fmt.Sprintf("load-%d", time.Now().UnixNano()),
		create: found(in + "CreateOrderRequest"), command: found(in + "OrderCommand"),
		enter: found(in + "EnterOrdersRequest"), entered: found(in + "EnterOrdersResponse"), order: found(in + "Order"),
	}
	return made, err
}

// Numbered is a limit order to buy one unit, good till canceled.
func (o *orders) numbered(number int) *dynamicpb.Message {
	message, fields := dynamicpb.NewMessage(o.create), o.create.Fields()
	for name, value := range map[protoreflect.Name]string{
		"client_order_id": fmt.Sprintf("%s-%d", o.run, number),
		"portfolio_id":    o.portfolio,
		"symbol":          o.symbol,
		"quantity":        "1",
		"limit_price":     o.price,
	} {
		message.Set(fields.ByName(name), protoreflect.ValueOfString(value))
	}
	for name, number := range map[protoreflect.Name]protoreflect.EnumNumber{
		"side": 1, "order_type": 2, "time_in_force": 2,
	} {
		message.Set(fields.ByName(name), protoreflect.ValueOfEnum(number))
	}
	return message
}

// Message is one of a session's, with the orders of these numbers.
func (o *orders) message(numbers []int) *dynamicpb.Message {
	message := dynamicpb.NewMessage(o.enter)
	commands := message.Mutable(o.enter.Fields().ByName("commands")).List()
	for _, number := range numbers {
		command := commands.AppendMutable().Message()
		command.Set(o.command.Fields().ByName("create"), protoreflect.ValueOfMessage(o.numbered(number)))
	}
	return message
}

// Acknowledged gives the numbers of the commands, from 1, that a session's message tells of; one that failed is an error.
func (o *orders) acknowledged(message *dynamicpb.Message) ([]int, error) {
	field := o.entered.Fields().ByName("acks")
	if !message.Has(field) {
		return nil, nil
	}
	acks := message.Get(field).Message()
	listed := acks.Get(acks.Descriptor().Fields().ByName("acks")).List()
	numbers := make([]int, listed.Len())
	for i := range numbers {
		ack := listed.Get(i).Message()
		fields := ack.Descriptor().Fields()
		if failed := fields.ByName("error"); ack.Has(failed) {
			return nil, fmt.Errorf("an order was refused: %v", ack.Get(failed).Message())
		}
		numbers[i] = int(ack.Get(fields.ByName("number")).Int())
	}
	return numbers, nil
}
