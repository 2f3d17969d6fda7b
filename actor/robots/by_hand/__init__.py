"""An arm of LeRobot whose torque is off, and the ranges through which a hand moves it."""
