"""Fine-tuning Cosmos-Predict2 on skill clips: the paper's Skill-WM (World2Act, section 3.1).

``clips`` cuts episodes, ``cache`` encodes them once, ``objective`` is the loss, ``train`` the loop.
"""
