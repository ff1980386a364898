import numpy as np

from vectorcache_tools.demo.sample import K
from vectorcache_tools.demo.words import load_words

ASKED = ("king", "paris")


def test_some_words_are_held_out_and_the_others_keep_their_vectors() -> None:
    held, every = load_words(2000, 50, ASKED), load_words(2000, 0, ())
    assert (held.vectors.shape, held.queries.shape) == ((1950, 50), (50, 50))
    assert held.vectors.dtype == held.queries.dtype == np.float32
    assert set(ASKED) <= set(held.ids.tolist()) < set(every.ids.tolist())
    place = every.ids.tolist().index("king")
    np.testing.assert_array_equal(held.vectors[held.ids.tolist().index("king")], every.vectors[place])


def test_the_same_seed_holds_the_same_words_out() -> None:
    first, again, other = (load_words(2000, 50, ASKED, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.queries, again.queries)
    assert not np.array_equal(first.queries, other.queries)


def test_neighbours_are_those_of_brute_force() -> None:
    data = load_words(500, 5, ASKED)
    for query, found in zip(data.queries, data.neighbours(), strict=True):
        distances = np.linalg.norm(data.vectors.astype(np.float64) - query, axis=1)
        assert found == set(data.ids[np.argsort(distances)[:K]].tolist())


def test_words_are_the_ids_of_a_build() -> None:
    data = load_words(10, 1, ())
    assert data.table().column("id").to_pylist() == data.ids.tolist()
