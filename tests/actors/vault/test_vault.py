"""What a vault does, and that it opens for nobody else."""

from __future__ import annotations

import copy
import pickle

import msgspec
import pytest

from actors.errors import InvalidRequest, UnlockFailed, VaultDamaged
from actors.stores.keys import KeptVault
from actors.vault.secret import Secret
from actors.vault.sodium import COST, KdfCost
from actors.vault.testing import (
    CHEAP,
    MARK,
    NOW_MS,
    made_credential,
    made_info,
    made_kek,
    told,
)
from actors.vault.values import Credential, UnlockKind
from actors.vault.vault import KEYS_MAX, Draft, Vault, derive, fresh_params, params_of

CANARY = "canary-5f1d"


def with_key(label: str = "main", *, text: str = "one") -> tuple[Vault, KeptVault]:
    """Return an open vault with one key, and what was written of it."""
    vault, _ = Vault.create(made_kek())
    draft = vault.put(made_info(label), made_credential(text), now_ms=NOW_MS, audit=MARK)
    vault.adopt(draft)
    return vault, draft.kept


def reopened(kept: KeptVault, words: str = "correct horse") -> Vault:
    """Open what was written, as a new process would."""
    params = params_of(kept.header)
    return Vault.open(kept, derive(Secret.of_text(words), params))


def test_a_key_that_was_put_comes_back_when_the_vault_is_opened_again() -> None:
    """That is what it is for."""
    _, kept = with_key()
    vault = reopened(kept)

    assert told(vault) == {"upbit:main": "secret one"}
    assert vault.keys == {made_info().id: made_info()}
    assert (vault.generation, vault.kind, vault.audit_mark) == (2, "passphrase", MARK)


def test_a_third_secret_comes_back_and_none_stays_none() -> None:
    """OKX has one, Upbit has not."""
    vault, kept = with_key()
    assert reopened(kept).credential(made_info().id).passphrase is None

    third = made_credential()
    third = Credential(third.access_key, third.secret_key, Secret.of_text("third \N{SNOWMAN}"))
    draft = vault.put(made_info(exchange="okx"), third, now_ms=NOW_MS, audit=MARK)
    found = reopened(draft.kept).credential(made_info(exchange="okx").id)
    assert found.passphrase == Secret.of_text("third \N{SNOWMAN}")
    assert found.access_key == Secret.of_text("access one")


def test_a_change_is_not_made_before_it_is_adopted() -> None:
    """Memory must not run ahead of the disk."""
    vault, kept = with_key()
    draft = vault.purge(made_info().id, audit=MARK)

    assert told(vault) == {"upbit:main": "secret one"}
    assert vault.generation == kept.generation
    vault.adopt(draft)
    assert told(vault) == {}
    assert vault.generation == kept.generation + 1


def test_what_is_known_of_a_key_can_change_without_its_secrets() -> None:
    """A new expiry date needs no new typing."""
    vault, _ = with_key()
    info = msgspec.structs.replace(made_info(), expires_ms=5)
    draft = vault.put(info, None, now_ms=NOW_MS + 1, audit=MARK)

    again = reopened(draft.kept)
    assert again.keys[info.id].expires_ms == 5
    assert again.keys[info.id].changed_ms == NOW_MS + 1
    assert told(again) == {"upbit:main": "secret one"}


def test_a_new_data_key_seals_everything_anew() -> None:
    """Who has the old one reads nothing of what is written from now on."""
    vault, before = with_key()
    old_key = vault._state.data_key
    draft = vault.rotate(audit=MARK)
    vault.adopt(draft)

    assert told(vault) == told(reopened(draft.kept)) == {"upbit:main": "secret one"}
    assert old_key.is_wiped
    pieces = [msgspec.json.decode(each.sealed)["records"][0] for each in (before, draft.kept)]
    assert pieces[0]["info"] != pieces[1]["info"]
    assert pieces[0]["secret"] != pieces[1]["secret"]


def test_a_new_passphrase_seals_no_key_anew() -> None:
    """Only the data key is wrapped anew, so it is as fast with a thousand keys."""
    vault, before = with_key()
    draft = vault.rewrap(made_kek("new one"), audit=MARK)
    vault.adopt(draft)

    with pytest.raises(UnlockFailed, match="that passphrase does not open the vault"):
        reopened(draft.kept)
    assert told(reopened(draft.kept, "new one")) == told(vault) == {"upbit:main": "secret one"}
    records = [msgspec.json.decode(each.sealed)["records"] for each in (before, draft.kept)]
    assert records[0] == records[1]


@pytest.mark.parametrize("wrong", ["correct hors", "correct horse ", "Correct horse", "x"])
def test_a_wrong_passphrase_is_no_damage(wrong: str) -> None:
    """It is the owner who must try again, not the disk that must be looked at."""
    _, kept = with_key()
    with pytest.raises(UnlockFailed, match="that passphrase does not open the vault"):
        reopened(kept, wrong)


@pytest.mark.parametrize("kind", ["key_file", "credential"])
def test_bytes_that_somebody_drew_unlock_as_well(kind: UnlockKind) -> None:
    """For machines that start with nobody there."""
    material, params = b"m" * 32, fresh_params(kind)
    _, kept = Vault.create(derive(Secret(material), params))

    assert params_of(kept.header) == params
    assert Vault.open(kept, derive(Secret(material), params)).kind == kind
    with pytest.raises(UnlockFailed, match=r"that .* does not open the vault"):
        Vault.open(kept, derive(Secret(b"n" * 32), params))
    with pytest.raises(UnlockFailed, match="must have at least 32 bytes, was 31"):
        derive(Secret(b"m" * 31), params)
    # A file as long as may be; BLAKE2b takes 64 bytes at most.
    assert len(derive(Secret(b"m" * 4_096), params).key) == 32


def test_an_empty_secret_unlocks_nothing() -> None:
    """It would be the same for everybody."""
    with pytest.raises(UnlockFailed, match="none came"):
        derive(Secret(b""), fresh_params("passphrase", CHEAP))


@pytest.mark.parametrize(
    "cost",
    [
        KdfCost(0, 8_192),
        KdfCost(11, 8_192),
        KdfCost(1, 8_191),
        KdfCost(1, (1 << 30) + 1),
        KdfCost(-1, 8_192),
        KdfCost(1 << 40, 1 << 60),
    ],
)
def test_a_header_that_asks_for_too_much_is_not_obeyed(cost: KdfCost) -> None:
    """Whoever can write the file could otherwise take all memory, or weaken what is derived."""
    with pytest.raises(VaultDamaged, match="asks for"):
        derive(Secret(b"passphrase"), fresh_params("passphrase", cost))


def test_what_a_passphrase_costs_is_what_is_recommended_today() -> None:
    """RFC 9106 takes 3 passes over 64 MiB where memory is scarce; this is four times it."""
    assert COST.opslimit >= 3
    assert COST.memlimit_bytes >= 64 << 20


def test_a_full_vault_takes_no_other_key() -> None:
    """Every bound says what happens at it."""
    vault, _ = with_key()
    for number in range(KEYS_MAX - 1):
        vault._state.infos[str(number)] = made_info()

    with pytest.raises(InvalidRequest, match="there are 1000 keys already; purge some"):
        vault.put(made_info("more"), made_credential(), now_ms=NOW_MS, audit=MARK)
    with pytest.raises(KeyError, match="unknown"):
        vault.purge("unknown", audit=MARK)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (4_097, 1), (1, 4_097)])
def test_a_secret_that_is_empty_or_endless_is_refused(sizes: tuple[int, int]) -> None:
    """An empty one signs nothing; a bound is there for everything that is kept."""
    vault, _ = with_key()
    credential = Credential(*(Secret(b"x" * size) for size in sizes))
    with pytest.raises(InvalidRequest, match="must have 1 to 4096 bytes"):
        vault.put(made_info("more"), credential, now_ms=NOW_MS, audit=MARK)


def test_a_wiped_vault_has_nothing_left() -> None:
    """Locking means that memory forgets, as far as Python lets it."""
    vault, _ = with_key()
    kek, data_key = vault._state.kek.key, vault._state.data_key
    vault.wipe()

    assert kek.is_wiped
    assert data_key.is_wiped
    assert vault.keys == {}
    with pytest.raises(KeyError, match=made_info().id):
        vault.credential(made_info().id)


def test_nothing_that_is_written_has_a_secret_or_a_name_in_it() -> None:
    """Who finds a backup learns how many keys there are, and no more."""
    vault, _ = Vault.create(made_kek(CANARY))
    info = made_info(CANARY)
    info = msgspec.structs.replace(info, id="00ff", uid=CANARY)
    kept = vault.put(info, made_credential(CANARY), now_ms=NOW_MS, audit=MARK).kept

    assert CANARY.encode() not in kept.header + kept.sealed
    assert b"upbit" not in kept.header + kept.sealed


def test_nothing_of_a_vault_prints_or_pickles_a_secret() -> None:
    """A log line, a crash report and a debugger's locals all use these."""
    vault, kept = with_key(text=CANARY)
    draft: Draft = vault.rotate(audit=MARK)
    credential = vault.credential(made_info().id)
    for each in (vault, draft, vault._state, vault._state.kek, credential, credential.access_key):
        assert CANARY not in repr(each)
        assert vault._state.data_key.buffer.hex() not in repr(each)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(credential.access_key)
    with pytest.raises(TypeError, match="cannot be pickled"):
        copy.deepcopy(credential)
    assert kept.generation == 2
