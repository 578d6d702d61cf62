"""Residual networks."""

from tvmconv.workload.networks.network import Network

RESNET18 = Network(
    name="resnet18",
    definition="He et al. 2015, arXiv 1512.03385; torchvision",
    table="""
1 conv1                 ic3ih224oc64oh112kh7sh2ph3
4 layer1.0.conv1        ic64ih56oc64oh56kh3ph1
1 layer2.0.conv1        ic64ih56oc128oh28kh3sh2ph1
3 layer2.0.conv2        ic128ih28oc128oh28kh3ph1
1 layer2.0.downsample.0 ic64ih56oc128oh28kh1sh2ph0
1 layer3.0.conv1        ic128ih28oc256oh14kh3sh2ph1
3 layer3.0.conv2        ic256ih14oc256oh14kh3ph1
1 layer3.0.downsample.0 ic128ih28oc256oh14kh1sh2ph0
1 layer4.0.conv1        ic256ih14oc512oh7kh3sh2ph1
3 layer4.0.conv2        ic512ih7oc512oh7kh3ph1
1 layer4.0.downsample.0 ic256ih14oc512oh7kh1sh2ph0
""",
)

RESNET50 = Network(
    name="resnet50",
    definition="He et al. 2015, arXiv 1512.03385; torchvision: v1.5, which strides in the 3x3 convolutions",
    table="""
1 conv1                 ic3ih224oc64oh112kh7sh2ph3
1 layer1.0.conv1        ic64ih56oc64oh56kh1ph0
3 layer1.0.conv2        ic64ih56oc64oh56kh3ph1
4 layer1.0.conv3        ic64ih56oc256oh56kh1ph0
2 layer1.1.conv1        ic256ih56oc64oh56kh1ph0
1 layer2.0.conv1        ic256ih56oc128oh56kh1ph0
1 layer2.0.conv2        ic128ih56oc128oh28kh3sh2ph1
4 layer2.0.conv3        ic128ih28oc512oh28kh1ph0
1 layer2.0.downsample.0 ic256ih56oc512oh28kh1sh2ph0
3 layer2.1.conv1        ic512ih28oc128oh28kh1ph0
3 layer2.1.conv2        ic128ih28oc128oh28kh3ph1
1 layer3.0.conv1        ic512ih28oc256oh28kh1ph0
1 layer3.0.conv2        ic256ih28oc256oh14kh3sh2ph1
6 layer3.0.conv3        ic256ih14oc1024oh14kh1ph0
1 layer3.0.downsample.0 ic512ih28oc1024oh14kh1sh2ph0
5 layer3.1.conv1        ic1024ih14oc256oh14kh1ph0
5 layer3.1.conv2        ic256ih14oc256oh14kh3ph1
1 layer4.0.conv1        ic1024ih14oc512oh14kh1ph0
1 layer4.0.conv2        ic512ih14oc512oh7kh3sh2ph1
3 layer4.0.conv3        ic512ih7oc2048oh7kh1ph0
1 layer4.0.downsample.0 ic1024ih14oc2048oh7kh1sh2ph0
2 layer4.1.conv1        ic2048ih7oc512oh7kh1ph0
2 layer4.1.conv2        ic512ih7oc512oh7kh3ph1
""",
)
