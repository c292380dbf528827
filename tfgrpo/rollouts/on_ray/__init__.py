"""Rollouts of agents, and heavy rewards, on the workers of a Ray cluster; what they call is still the learner's to do.

A worker gives the agent an endpoint on its own node. What is asked there goes to the learner and back through a mailbox
on the cluster, so that keys, journal, budget, pace and seeds are those of a run without Ray, the learner alone writes
the store, and no port of it need be reachable. A rollout of one chat call has nothing that a worker could take over.
"""
