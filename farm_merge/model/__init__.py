"""The built-in model: agents on a torus that eat, fight, help, learn and multiply.

Three kinds of agents (system, independent, control) live on a torus with resources that regrow.
At every step each agent takes one action, drawn by its action weights: move, gather, share,
attack, defend or reproduce. The weights follow the rewards (a gradient bandit with a baseline;
Sutton & Barto, Reinforcement Learning, 2nd ed., section 2.8, without the softmax), and offspring
inherit them, mutated. Who has no resources starves.

Lengths are in cells of the torus, times in steps, resources and health in units of their own.
State is held in arrays, one entry an agent; all randomness is from one generator.
"""
