package topics

import "testing"

func TestDocumented(t *testing.T) {
	all := Documented("eu.")
	if len(all) != 10 {
		t.Fatalf("%d topics", len(all))
	}
	for _, topic := range all {
		if topic.Name[:3] != "eu." || topic.Partitions < 1 || topic.Retention < 7*day {
			t.Errorf("%+v", topic)
		}
	}
	if first := Consumed()[0].Name; first != Trades {
		t.Errorf("a prefix stays in %q", first)
	}
}

func TestDeadLetter(t *testing.T) {
	for topic, want := range map[string]string{
		Trades: DeadLetterTransactions, Balances: DeadLetterTransactions, Deposits: DeadLetterTransactions,
		Withdraws: DeadLetterTransactions, InternalTransfer: DeadLetterTransactions,
		Orders: DeadLetterGeneral, RegisterUser: DeadLetterGeneral, UnifyEvents: DeadLetterGeneral,
	} {
		if got := DeadLetter(topic); got != want {
			t.Errorf("%s: %s", topic, got)
		}
	}
}
