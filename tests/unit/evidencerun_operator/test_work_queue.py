# SPDX-License-Identifier: Apache-2.0
"""The queue: each key once, never with two workers, later when it is told so."""

import asyncio

from evidencerun_operator.queue import Key, WorkQueue

A, B = Key("n", "a"), Key("n", "b")


async def test_a_key_stands_in_the_queue_once_and_order_is_kept():
    queue = WorkQueue()
    for key in (A, B, A):
        queue.add(key)
    assert [await queue.take(), await queue.take()] == [A, B]
    assert len(queue) == 2


async def test_a_key_that_is_being_worked_on_is_given_out_again_afterwards_only():
    queue = WorkQueue()
    queue.add(A)
    assert await queue.take() == A
    queue.add(A)
    queue.add(B)
    assert await queue.take() == B
    queue.done(A)
    assert await queue.take() == A


async def test_a_delayed_key_comes_when_it_is_due_and_the_earlier_time_counts():
    queue = WorkQueue()
    queue.add_after(A, 30)
    queue.add_after(A, 0.01)
    queue.add_after(A, 30)
    assert await asyncio.wait_for(queue.take(), 5) == A
    queue.done(A)
    assert len(queue) == 0


async def test_an_event_overtakes_a_delay():
    queue = WorkQueue()
    queue.add_after(A, 3600)
    queue.add(A)
    assert await asyncio.wait_for(queue.take(), 5) == A


async def test_a_key_whose_time_is_known_keeps_it():
    queue = WorkQueue()
    queue.add_after(A, 0.05)
    queue.add(B)
    assert await queue.take() == B
    for key in (A, B):
        queue.add_unknown(key)
    queue.done(B)
    assert await asyncio.wait_for(queue.take(), 5) == A
    queue.add_unknown(B)
    assert await asyncio.wait_for(queue.take(), 5) == B


async def test_failures_in_a_row_wait_longer_up_to_a_limit_and_success_forgets():
    queue = WorkQueue()
    delays = [queue.add_failed(A) for _ in range(9)]
    assert delays[:3] == [0.5, 1.0, 2.0]
    assert delays[-1] == 30.0
    queue.succeeded(A)
    assert queue.add_failed(A) == 0.5
