"""Keys of the proxy in the store."""

import pytest

from tfgrpo.errors import InputError, StoreError
from tfgrpo.store import AccessKey, KeySpending, Store, StorePath


def test_what_keys_spend_adds_up_and_revoking_is_for_ever(place: StorePath) -> None:
    with Store(place) as store:
        store.add_key(AccessKey("a", "1", "anna", "math", max_calls=5, max_tokens=100))
        store.add_key(AccessKey("b", "2", "ben", admin=True))
        store.add_spending({"a": KeySpending(2, 30), "b": KeySpending(1, 0)})
        store.add_spending({"a": KeySpending(1, 5)})
        store.revoke_key("b")
        revoked = store.access_keys()[1].revoked
        store.revoke_key("b")
        anna, ben = store.access_keys()
        assert store.verify() == ()
    assert (anna.spent, anna.namespace, anna.admin, anna.revoked) == ((3, 35), "math", False, None)
    assert (ben.spent, ben.namespace, ben.admin) == ((1, 0), None, True)
    assert ben.revoked == revoked is not None
    assert anna.used_up() is None
    assert (anna.used_up(KeySpending(2, 0)), anna.used_up(KeySpending(0, 65))) == ("5 calls", "100 tokens")
    assert "1" not in repr(AccessKey("a", "1", "anna"))


def test_a_key_that_is_not_there_cannot_be_revoked_nor_one_have_a_budget_of_nothing(place: StorePath) -> None:
    with Store(place) as store, pytest.raises(StoreError, match="`tfgrpo keys list`") as raised:
        store.revoke_key("tfgrpo-1-secret")
    assert "secret" not in str(raised.value), "who takes the id for the key gives the key"
    with pytest.raises(InputError, match="--max-calls 0"):
        AccessKey("a", "1", "anna", max_calls=0)
